"""Conditional reads: an ETag on every answer to a GET, 304 for who has it already, and HEAD as a GET without body."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send


def answer_conditionally(app: ASGIApp) -> ASGIApp:
    """Around the whole app: holds a whole answer to hash it; streams pass through untouched."""

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        method = str(scope.get("method"))
        if method not in ("GET", "HEAD"):
            await app(scope, receive, send)
            return
        answer = _ConditionalAnswer(_known(scope), send, bodiless=method == "HEAD")
        await app({**scope, "method": "GET"}, receive, answer.send)  # type: ignore[arg-type]

    return asgi


class _ConditionalAnswer:
    """One answer on its way out: held until its body is there, then tagged, shortened or passed on."""

    def __init__(self, known: set[bytes], send: Send, *, bodiless: bool) -> None:
        self._known, self._send, self._bodiless = known, send, bodiless
        self._held: Any = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._held = message
            return
        held, self._held = self._held, None
        body: Any = message
        if held is not None:
            if held["status"] == 200 and not body.get("more_body", False):
                held, body = self._tagged(held, body)
            await self._send(held)
        if self._bodiless:
            body = {**body, "body": b""}
        await self._send(body)

    def _tagged(self, start: Any, body: Any) -> tuple[Any, Any]:
        """A revision that the answer names as its ETag goes in front: If-Match can be sent back as it came."""
        revision = next(
            (value.strip(b'"') + b"-" for name, value in start["headers"] if name == b"etag"), b""
        )
        digest = blake2b(body.get("body", b""), digest_size=12).hexdigest().encode()
        tag = b'"' + revision + digest + b'"'
        headers = [(name, value) for name, value in start["headers"] if name != b"etag"] + [(b"etag", tag)]
        if not self._known & {tag, b"W/" + tag, b"*"}:
            return {**start, "headers": headers}, body
        kept = [(name, value) for name, value in headers if name not in (b"content-length", b"content-type")]
        return {**start, "status": 304, "headers": kept}, {**body, "body": b""}


def _known(scope: Scope) -> set[bytes]:
    return {
        tag.strip()
        for name, value in scope["headers"]
        if name == b"if-none-match"
        for tag in value.split(b",")
    }
