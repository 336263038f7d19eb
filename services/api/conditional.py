"""Conditional reads: an ETag on every answer to a GET, and 304 for who has it already; HEAD is a GET without body."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

_Headers = list[tuple[bytes, bytes]]


class ConditionalReads(ASGIMiddleware):
    """Holds a whole answer to hash it; streams pass through untouched."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if scope["type"] != ScopeType.HTTP or scope["method"] != "GET":
            await next_app(scope, receive, send)
            return
        known = {
            tag.strip()
            for name, value in scope["headers"]
            if name == b"if-none-match"
            for tag in value.split(b",")
        }
        start: Message | None = None

        async def tagged(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and message["status"] == 200:
                start = message
            elif start is None:
                await send(message)
            else:
                held, start = start, None
                whole = not message.get("more_body", False)
                await _send_tagged(held, message, known, send) if whole else await _send_both(
                    held, message, send
                )

        await next_app(scope, receive, tagged)


async def _send_tagged(start: Any, body: Any, known: set[bytes], send: Send) -> None:
    tag = b'"' + blake2b(body.get("body", b""), digest_size=12).hexdigest().encode() + b'"'
    headers: _Headers = [*start["headers"], (b"etag", tag)] if not _has_tag(start) else list(start["headers"])
    if tag in known or b"W/" + tag in known or b"*" in known:
        kept = [(name, value) for name, value in headers if name not in (b"content-length", b"content-type")]
        start, body = {**start, "status": 304, "headers": kept}, {**body, "body": b""}
    else:
        start = {**start, "headers": headers}
    await _send_both(start, body, send)


async def _send_both(start: Any, body: Any, send: Send) -> None:
    await send(start)
    await send(body)


def _has_tag(start: Any) -> bool:
    return any(name == b"etag" for name, _ in start["headers"])
