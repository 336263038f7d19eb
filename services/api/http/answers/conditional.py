"""Answers to GET: an ETag, 304 when the client has it, compression, and HEAD as a GET without body."""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from services.api.http.answers.compression import (
    BODY_BYTES_MIN,
    CompressedBodies,
    Encoding,
    choose_encoding,
    is_compressible,
)
from services.api.http.problems import HttpRejected, messages

Headers = list[tuple[bytes, bytes]]

_NO_STORE = b"no-store"


def answer_conditionally(app: ASGIApp) -> ASGIApp:
    """Wraps the whole app. Buffers an answer to hash it; streams pass through."""
    bodies = CompressedBodies()

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["method"] not in ("GET", "HEAD"):
            await app(scope, receive, send)
            return
        answer = _ConditionalAnswer(scope, send, bodies, bodiless=scope["method"] == "HEAD")
        scope["method"] = "GET"
        await app(scope, answer.receive_end if answer.bodiless else receive, answer.send)

    return asgi


class _ConditionalAnswer:
    """One answer, whose start is delayed until its body is known."""

    def __init__(self, scope: HTTPScope, send: Send, bodies: CompressedBodies, *, bodiless: bool) -> None:
        self._scope, self._send, self._bodies, self.bodiless = scope, send, bodies, bodiless
        self._start: Any = None
        self._ended = asyncio.Event()

    async def receive_end(self) -> Any:
        """Ends the stream behind a HEAD once its headers are sent, as if the client had left."""
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        start, self._start = self._start, None
        body: Any = message
        if start is not None:
            if start["status"] == 200 and not body.get("more_body", False):
                start, body = await self._represent(start, body)
            await self._send(start)
        if not self.bodiless:
            await self._send(body)
        elif not self._ended.is_set():
            self._ended.set()
            body = {**body, "body": b"", "more_body": False}
            await self._send(body)

    async def _represent(self, start: Any, message: Any) -> tuple[Any, Any]:
        """The answer in the encoding that the client accepts, or 304, or 406 if it accepts none."""
        headers, body = list(start["headers"]), message.get("body", b"")
        compressible = _may_be_compressed(headers)
        encoding = self._encoding(len(body)) if compressible else "identity"
        if encoding is None:
            return messages(
                HttpRejected(
                    406,
                    "not-acceptable",
                    "Accept-Encoding: accept gzip, zstd or identity.",
                    {"Vary": "Accept-Encoding"},
                )
            )
        digest = blake2b(body, digest_size=12).hexdigest().encode()
        headers, tag = _with_etag(headers, digest, encoding)
        if compressible:
            headers = _with_vary(headers)
        if self._is_known(tag):
            kept = [each for each in headers if each[0] not in (b"content-length", b"content-type")]
            return {**start, "status": 304, "headers": kept}, {**message, "body": b""}
        if encoding != "identity":
            body = await self._bodies.compress(body, digest, encoding)
            headers = [each for each in headers if each[0] != b"content-length"]
            headers += [(b"content-encoding", encoding.encode()), (b"content-length", b"%d" % len(body))]
        return {**start, "headers": headers}, {**message, "body": body}

    def _encoding(self, size: int) -> Encoding | None:
        sent = [value for name, value in self._scope["headers"] if name == b"accept-encoding"]
        if not sent:
            return "identity"
        return choose_encoding(b",".join(sent).decode("latin-1"), small=size < BODY_BYTES_MIN)

    def _is_known(self, tag: bytes) -> bool:
        known = {
            each.strip()
            for name, value in self._scope["headers"]
            if name == b"if-none-match"
            for each in value.split(b",")
        }
        return bool(known & {tag, b"W/" + tag, b"*"})


def _may_be_compressed(headers: Headers) -> bool:
    """Answers that no cache may keep are about one person. Their compressed length could reveal what they contain (BREACH)."""
    sent = dict(headers)
    return (
        is_compressible(sent.get(b"content-type", b""))
        and _NO_STORE not in sent.get(b"cache-control", b"")
        and b"content-encoding" not in sent
    )


def _with_vary(headers: Headers) -> Headers:
    named = [value for name, value in headers if name == b"vary"]
    others = [each for each in headers if each[0] != b"vary"]
    return [*others, (b"vary", b", ".join([*named, b"Accept-Encoding"]))]


def _with_etag(headers: Headers, digest: bytes, encoding: Encoding) -> tuple[Headers, bytes]:
    """A strong tag, so one per encoding. It begins with the revision if the handler gave one, and works as If-Match too."""
    revision = next((value.strip(b'"') + b"-" for name, value in headers if name == b"etag"), b"")
    suffix = b"" if encoding == "identity" else b"-" + encoding.encode()
    tag = b'"' + revision + digest + suffix + b'"'
    return [each for each in headers if each[0] != b"etag"] + [(b"etag", tag)], tag
