"""Request framing: rejects requests whose host or length is ambiguous, which allows request smuggling."""

from __future__ import annotations

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from services.api.http.problems import HttpRejected, messages


def reject_ambiguous(app: ASGIApp) -> ASGIApp:
    """Wraps the whole app. The server accepts such requests, but a proxy in front of it may parse them differently."""

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or (detail := _ambiguity(scope)) is None:
            await app(scope, receive, send)
            return
        for message in messages(HttpRejected(400, "ambiguous", detail, {"Connection": "close"})):
            await send(message)

    return asgi


def _ambiguity(scope: Scope) -> str | None:
    names = [name for name, value in scope["headers"] if value]
    hosts, version = names.count(b"host"), scope["http_version"]
    if hosts != 1 and version != "2" and not (hosts == 0 and version in ("1", "1.0")):
        return "Send exactly one Host header."
    if names.count(b"content-length") > 1:
        return "Send only one Content-Length header."
    if b"content-length" in names and b"transfer-encoding" in names:
        return "Send either Content-Length or Transfer-Encoding, not both."
    return None
