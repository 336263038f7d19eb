"""The public address of each request, and what follows from it: the path without its prefix, and cookies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from litestar.datastructures import Cookie
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from services.api.http.client_address import proxies_passed
from services.api.http.requests import Connection
from services.public_address import PublicAddress, host_of, prefix_of
from services.settings import Network, Settings

_IN_SCOPE = "shiplog public address"
_UNKNOWN = {scheme: PublicAddress(scheme) for scheme in ("http", "https")}
_VARY = (b"vary", b"X-Forwarded-Host, X-Forwarded-Proto, X-Forwarded-Prefix")
_COOKIES_MAX = 4


class LocatedRequests:
    """Wraps the whole app. Determines the public address of a request once, and removes its prefix from the path.

    A proxy may have removed the prefix itself. Without a public address in the settings, answers may differ by the headers
    of trusted proxies, so caches are told to keep them apart.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self._public, self._proxies = app, settings.public_address, settings.trusted_proxies
        self._varies = self._public is None and bool(self._proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            address = self._public or _reported_address(scope, self._proxies)
            scope["state"][_IN_SCOPE] = address
            if address.prefix:
                _remove_prefix(scope, address.prefix)
        await self.app(scope, receive, _with_vary(send) if self._varies else send)


def public_address(scope: Scope) -> PublicAddress:
    return cast(PublicAddress, scope["state"].get(_IN_SCOPE) or _UNKNOWN[scope.get("scheme") or "http"])


def site_of(connection: Connection) -> str:
    """The base of links in messages that this request sets up: the page's own, if no setting and no proxy knows the host."""
    address = public_address(connection.scope)
    page = connection.headers.get("origin", "")
    if not address.host and connection.headers.get("sec-fetch-site") == "same-origin" and "://" in page:
        return page + address.prefix
    return address.base


def own_cookie(scope: Scope, name: str, value: str, max_age: int) -> Cookie:
    """A cookie that scripts cannot read, for this instance alone, and only over TLS if people reach it so."""
    address = public_address(scope)
    return Cookie(
        name,
        value=value,
        path=address.cookie_path,
        httponly=True,
        samesite="lax",
        secure=address.secure,
        max_age=max_age,
    )


def cookies_named(connection: Connection, name: str) -> list[str]:
    """The values under one name, at most four. An instance at another path of the host may set the same name."""
    header = ";".join(connection.headers.getall("cookie", []))
    pairs = (pair.strip().partition("=") for pair in header.split(";"))
    return [value for key, _, value in pairs if key == name][:_COOKIES_MAX]


def _reported_address(scope: HTTPScope, proxies: Sequence[Network]) -> PublicAddress:
    """What trusted proxies report. The Host header alone names no host: anybody may send any."""
    unknown = _UNKNOWN[scope.get("scheme") or "http"]
    if not proxies:
        return unknown
    connection: Connection = Connection(scope)
    passed = proxies_passed(connection, proxies)
    if not passed:
        return unknown
    scheme = _reported(connection, "x-forwarded-proto", passed).lower()
    scheme = scheme if scheme in _UNKNOWN else unknown.scheme
    host = host_of(_reported(connection, "x-forwarded-host", passed), scheme)
    prefix = prefix_of(_reported(connection, "x-forwarded-prefix", passed))
    return PublicAddress(scheme, host or "", prefix or "")


def _reported(connection: Connection, header: str, passed: int) -> str:
    """The value that the outermost of the ``passed`` proxies gave. A proxy may replace values or append to them."""
    values = ",".join(connection.headers.getall(header, [])).split(",")
    return values[-passed:][0].strip()


def _remove_prefix(scope: HTTPScope, prefix: str) -> None:
    path, raw_path = scope["path"], scope.get("raw_path") or b""
    if path != prefix and not path.startswith(prefix + "/"):
        return
    scope["path"] = path[len(prefix) :] or "/"
    if raw_path.startswith(prefix.encode()):
        scope["raw_path"] = raw_path[len(prefix) :] or b"/"


def _with_vary(send: Send) -> Send:
    async def send_with_vary(message: Message) -> None:
        if message["type"] == "http.response.start":
            start: Any = {**message, "headers": [*message["headers"], _VARY]}
            await send(start)
        else:
            await send(message)

    return send_with_vary
