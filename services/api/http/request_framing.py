"""Request framing: rejects a request whose head is ambiguous or malformed, before anything parses it."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from urllib.parse import unquote_to_bytes

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from services.api.http.problems import HttpRejected, messages

_STATIC = "/static/"
_HTTP_1_0 = ("1", "1.0")  # as Granian and other servers name it
_NO_HOST = (b"host", b"")  # what Granian adds to a request without a Host header
_PORT = rb"(?::(?:[0-9]{0,4}|[1-5][0-9]{4}|6(?:[0-4][0-9]{3}|5(?:[0-4][0-9]{2}|5(?:[0-2][0-9]|3[0-5])))))?"
_NAME_AND_PORT = re.compile(rb"[A-Za-z0-9._-]{1,253}" + _PORT)
_ADDRESS_AND_PORT = re.compile(rb"\[([0-9A-Fa-f:.]{2,45})\]" + _PORT)
# Nothing in it needs decoding: printable ASCII without "%".
_PLAIN = re.compile(rb"[!-$&-~]*")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_SLASH = re.compile(rb"%2f", re.IGNORECASE)


def reject_malformed(app: ASGIApp) -> ASGIApp:
    """Wraps the whole app.

    Ambiguous requests allow request smuggling: a proxy in front of the server may parse them differently.
    """

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            if scope["http_version"] in _HTTP_1_0:
                scope["headers"] = [each for each in scope["headers"] if each != _NO_HOST]
            if (rejected := _find_mistake(scope)) is not None:
                for message in messages(rejected):
                    await send(message)
                return
        await app(scope, receive, send)

    return asgi


def is_host(value: bytes) -> bool:
    """Whether a Host header is a name, an IPv4 address, or an IPv6 address in brackets, with a port or without."""
    if not value.startswith(b"["):
        return _NAME_AND_PORT.fullmatch(value) is not None
    found = _ADDRESS_AND_PORT.fullmatch(value)
    try:
        return found is not None and bool(IPv6Address(found[1].decode()).compressed)
    except ValueError:
        return False


def _find_mistake(scope: HTTPScope) -> HttpRejected | None:
    if detail := _ambiguity(scope):
        return _closing("ambiguous", detail)
    if any(name == b"host" and not is_host(value) for name, value in scope["headers"]):
        return _closing(
            "invalid", "The Host header is not a host name with an optional port. Send Host: example.org."
        )
    if detail := _undecodable(scope):
        if _STATIC in scope["path"]:
            return HttpRejected(404, "not-found", "There is nothing at this address.")
        return HttpRejected(400, "invalid", detail)
    return None


def _ambiguity(scope: HTTPScope) -> str | None:
    names = [name for name, _ in scope["headers"]]
    hosts = names.count(b"host")
    if hosts > 1 or (hosts == 0 and scope["http_version"] == "1.1"):
        return "Send exactly one Host header."
    if names.count(b"content-length") > 1:
        return "Send only one Content-Length header."
    if b"content-length" in names and b"transfer-encoding" in names:
        return "Send either Content-Length or Transfer-Encoding, not both."
    return None


def _undecodable(scope: HTTPScope) -> str | None:
    """What is wrong with the path or the query, which are sent percent-encoded."""
    path, query = scope["raw_path"], scope["query_string"]
    if not _PLAIN.fullmatch(path):
        if _SLASH.search(path):
            return "The path contains an encoded slash (%2F), which no address here has."
        if (problem := _problem_of_text(path)) is not None:
            return f"The path contains {problem}. Remove it."
    if not _PLAIN.fullmatch(query) and (problem := _problem_of_text(query)) is not None:
        return f"The query contains {problem}. Remove it."
    return None


def _problem_of_text(encoded: bytes) -> str | None:
    try:
        text = unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError:
        return "bytes that are not UTF-8"
    return "a control character" if _CONTROL.search(text) else None


def _closing(slug: str, detail: str) -> HttpRejected:
    return HttpRejected(400, slug, detail, {"Connection": "close"})
