"""Conditional requests: an ETag on every answer to a GET, 304 when the client has it, HEAD as a GET without body."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send


def answer_conditionally(app: ASGIApp) -> ASGIApp:
    """Wraps the whole app. Buffers an answer to hash it; streams pass through."""

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        method = str(scope.get("method"))
        if method not in ("GET", "HEAD"):
            await app(scope, receive, send)
            return
        answer = _ConditionalAnswer(_known_tags(scope), send, bodiless=method == "HEAD")
        await app({**scope, "method": "GET"}, receive, answer.send)  # type: ignore[arg-type]

    return asgi


class _ConditionalAnswer:
    """One answer, whose start is delayed until its body is known."""

    def __init__(self, known: set[bytes], send: Send, *, bodiless: bool) -> None:
        self._known, self._send, self._bodiless = known, send, bodiless
        self._start: Any = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        start, self._start = self._start, None
        body: Any = message
        if start is not None:
            if start["status"] == 200 and not body.get("more_body", False):
                start, body = self._with_etag(start, body)
            await self._send(start)
        if self._bodiless:
            body = {**body, "body": b""}
        await self._send(body)

    def _with_etag(self, start: Any, body: Any) -> tuple[Any, Any]:
        """The tag is a digest of the body, after the revision if the handler gave one, so it works as If-Match as well."""
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


def _known_tags(scope: Scope) -> set[bytes]:
    return {
        tag.strip()
        for name, value in scope["headers"]
        if name == b"if-none-match"
        for tag in value.split(b",")
    }
