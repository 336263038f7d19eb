"""Headers of every answer: who may read it from another site, whether caches may keep it, and its declared type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from litestar import Litestar
from litestar.enums import ScopeType
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from services.api.http.auth import open_to_all

Headers = list[tuple[bytes, bytes]]

_API = "/v1/"
# A visitor's own votes and bookmarks, and the log-in: open to everybody, each sees their own.
_PERSONAL = ("/v1/me/", "/v1/session")
_READS = ("GET", "HEAD", "OPTIONS")
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_CROSS_ORIGIN: Headers = [
    (b"access-control-allow-origin", b"*"),
    (
        b"access-control-expose-headers",
        b"ETag, Link, RateLimit, RateLimit-Policy, Retry-After, Shiplog-Incomplete, Shiplog-Lag-Ms, Shiplog-Position",
    ),
]
# Headers that a page may add to a read. Not Authorization: a page that holds an API key gives it to all its visitors.
_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD"),
    (b"access-control-allow-headers", b"Accept, Cache-Control, Content-Type, If-None-Match, Last-Event-ID"),
    (b"access-control-max-age", b"86400"),
]


def complete_headers(app: ASGIApp, framework: Litestar) -> ASGIApp:
    """Wraps the whole app, so that its own layers' answers have these headers too."""
    public = frozenset(_public_paths(framework))

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        if (
            str(scope["method"]) == "OPTIONS" and scope["path"] == "*"
        ):  # about the server, not about an address
            await _answer_options(send)
            return

        async def send_complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_missing(scope, message, public)]}
            await send(message)

        await app(scope, receive, send_complete)

    return asgi


def _public_paths(framework: Litestar) -> Iterable[str]:
    """Paths of the API that answer a GET the same for everybody."""
    for route in framework.routes:
        if isinstance(route, HTTPRoute) and "GET" in route.route_handler_map:
            guards = route.route_handler_map["GET"][0].resolve_guards()
            path = route.path_format
            if open_to_all in guards and _is_shared(path):
                yield path


def _missing(scope: HTTPScope, start: Any, public: frozenset[str]) -> Headers:
    sent = {name for name, _ in start["headers"]}
    headers = [] if _NOSNIFF[0] in sent else [_NOSNIFF]
    method = str(scope["method"])
    if method not in _READS:
        return headers
    # An answer that no route gave, such as 404 or 503, tells the same to everybody.
    address = scope.get("path_template")
    is_public = address in public if address else _is_shared(scope["path"])
    if b"cache-control" not in sent:
        private = (address or scope["path"]).startswith(_API) and not is_public
        headers.append((b"cache-control", b"no-store" if private else b"no-cache"))
    if is_public:
        headers += _CROSS_ORIGIN
        if method == "OPTIONS":
            headers += _PREFLIGHT
    return headers


def _is_shared(path: str) -> bool:
    return path.startswith(_API) and not path.startswith(_PERSONAL)


async def _answer_options(send: Send) -> None:
    headers = [(b"allow", b"DELETE, GET, HEAD, OPTIONS, POST, PUT")]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
