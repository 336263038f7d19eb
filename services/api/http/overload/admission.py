"""Admission control: an API process limits its connections, requests in progress, and memory for bodies and answers."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from asyncio import Task
from collections.abc import Sequence
from errno import EMFILE, ENFILE
from typing import Any, cast

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send

from eventstore.deadlines import Deadline, limited_by
from services.api.http.overload.idle_connections import Peer, close_idle_connections
from services.api.http.overload.pacing import Pacing
from services.api.http.problems import HttpRejected, messages
from services.settings import Network

IN_FLIGHT_MAX = 1_000  # requests inside the framework that have no answer yet
BODY_BYTES_MAX = 16 * 1024 * 1024  # request bodies in memory, of all requests together
ANSWER_BYTES_MAX = 16 * 1024 * 1024  # large answers being sent, together
LARGE_ANSWER_BYTES = 64 * 1024  # an answer above this size is sent in pieces
ANSWERS_PER_CLOSE = 16  # a saturated process closes the connection of one answer in this many
_BODY_BYTES_ALWAYS = 1024  # a body up to this size is accepted however much memory the others take
_PIECE_BYTES = 16 * 1024
_BODY_SECONDS = 10.0
_ANSWER_SECONDS = 60.0
_WATCH_SECONDS = 0.25
_FULL_ROUNDS = 3  # without an idle connection to close
_TOO_SLOW = "The body did not arrive within 10 seconds. Nothing was stored."
_BULK_STALLED = "No more of the body arrived for 10 seconds."
_CLOSE = (b"connection", b"close")
_CLOSING = {"Connection": "close"}
_RETRY_CLOSING = {"Retry-After": "1", **_CLOSING}


class BodyStalled(HttpRejected):
    """No more of a body arrived in time."""

    def __init__(self, detail: str) -> None:
        super().__init__(408, "too-slow", detail, _CLOSING)


class NotRead(Exception):
    """The client does not read what it is sent."""


class AdmissionControl:
    """The limits of one process, and what is in use. ``saturated``: nearly all of its connections are open, and none is idle."""

    def __init__(self, connections_max: int, bulk_path: str, proxies: Sequence[Network] = ()) -> None:
        self.connections_max, self.bulk_path, self._proxies = connections_max, bulk_path, proxies
        self.saturated = False
        self.in_flight = self.body_bytes = self.answer_bytes = 0
        self.receiving: dict[Task[Any], float] = {}  # tasks that wait for a body, and their start times
        self.sending: dict[Task[Any], float] = {}  # tasks that wait until a part of a stream is read
        self.overdue: set[Task[Any]] = set()
        self.busy: set[Peer] = set()  # clients of requests in progress
        self._idle: set[Peer] = set()  # of connections that were idle when last looked at
        self.pacing = Pacing()
        self._answers = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    async def watch(self) -> None:
        self._loop, full_rounds = asyncio.get_running_loop(), 0
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            opened = open_file_descriptors()
            self.cancel_overdue(time.perf_counter() - _BODY_SECONDS)
            no_room = opened >= self.connections_max and not await self._close_idle()
            full_rounds = full_rounds + 1 if no_room else 0
            self.saturated = full_rounds >= _FULL_ROUNDS

    async def _close_idle(self) -> int:
        """The number of connections closed, at most a tenth of all."""
        count = -(-self.connections_max // 10)
        busy = frozenset(self.busy)
        return await asyncio.to_thread(close_idle_connections, count, busy, self._proxies, self._idle)

    def cancel_overdue(self, started_before: float) -> None:
        for waiting in (self.receiving, self.sending):
            for task in [task for task, started in waiting.items() if started < started_before]:
                if task not in self.overdue:
                    self.overdue.add(task)
                    task.cancel()

    async def receive_in_time(self, receive: Receive, started: float, detail: str = _TOO_SLOW) -> Message:
        """The next part of a body. Raises BodyStalled with ``detail`` 10 s after ``started``.

        ``watch`` cancels the task then: a timer for each request would cost more than the rest of this function.
        """
        task = cast("Task[Any]", asyncio.current_task(self._loop))
        self.receiving[task] = started
        try:
            return cast(Message, await receive())
        except asyncio.CancelledError:
            if task not in self.overdue:
                raise
            task.uncancel()
            raise BodyStalled(detail) from None
        finally:
            self.receiving.pop(task, None)
            self.overdue.discard(task)

    async def send_in_time(self, send: Send, message: Message) -> None:
        """Send a part of a stream. Raises NotRead when the client has read nothing for 10 s."""
        task = cast("Task[Any]", asyncio.current_task(self._loop))
        self.sending[task] = time.perf_counter()
        try:
            await send(message)
        except asyncio.CancelledError:
            if task not in self.overdue:
                raise
            task.uncancel()
            raise NotRead from None
        finally:
            self.sending.pop(task, None)
            self.overdue.discard(task)

    def close_when_saturated(self, start: HTTPResponseStartEvent) -> HTTPResponseStartEvent:
        """While saturated, every 503 and every 16th other answer closes its connection.

        Otherwise clients that keep their connections alive would shut out waiting clients for ever.
        """
        if not self.saturated:
            return start
        self._answers += 1
        if start["status"] != 503 and self._answers % ANSWERS_PER_CLOSE:
            return start
        others = [header for header in start["headers"] if header != _CLOSE]
        return {**start, "headers": [*others, _CLOSE]}


def open_file_descriptors() -> int:
    """The number of connections, plus about fifty files. The server accepts connections by itself, and ASGI does not see them."""
    try:
        return len(os.listdir("/dev/fd"))  # noqa: PTH208 - pathlib would make an object for each
    except OSError as error:
        none_is_left = error.errno in (EMFILE, ENFILE)
        return sys.maxsize if none_is_left else 0


def bound_requests(app: ASGIApp, admission: AdmissionControl) -> ASGIApp:
    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        request = BoundedRequest(admission, scope, receive, send)
        client = scope["client"]
        admission.busy.add(client)  # type: ignore[arg-type]
        try:
            with limited_by(request.deadline):
                await app(scope, request.receive, request.send)
        finally:
            request.end()
            admission.busy.discard(client)

    return asgi


class BoundedRequest:
    """One request. Its body must arrive in time and fit into the memory for bodies.

    A bulk body is processed as it arrives and may take long, so its 10 s start again with each part, and its memory is
    not counted; the number of bulk requests is limited instead.

    ``deadline`` of its uses of the database starts again with each part of the body. A bulk request has none: each of its
    batches has its own.
    """

    __slots__ = (
        "_admission",
        "_body_bytes",
        "_bulk",
        "_complete",
        "_receive",
        "_send",
        "_started",
        "deadline",
    )

    def __init__(self, admission: AdmissionControl, scope: Scope, receive: Receive, send: Send) -> None:
        self._admission, self._receive, self._send = admission, receive, send
        self._bulk = scope["path"] == admission.bulk_path
        self.deadline = None if self._bulk else Deadline()
        self._body_bytes, self._started, self._complete = 0, 0.0, False

    async def receive(self) -> Any:
        """Raises HttpRejected when the body takes too long, or too many large bodies are in memory."""
        if self._complete:
            return await self._receive()
        if self._bulk or not self._started:
            self._started = time.perf_counter()
        detail = _BULK_STALLED if self._bulk else _TOO_SLOW
        message = cast(Any, await self._admission.receive_in_time(self._receive, self._started, detail))
        self._complete = not message.get("more_body")
        if self.deadline is not None:
            self.deadline.renew()
            self._reserve(len(message.get("body", b"")))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message = self._admission.close_when_saturated(message)
        await self._send(message)

    def end(self) -> None:
        self._admission.body_bytes -= self._body_bytes

    def _reserve(self, size: int) -> None:
        self._body_bytes += size
        self._admission.body_bytes += size
        if self._admission.body_bytes > BODY_BYTES_MAX and self._body_bytes > _BODY_BYTES_ALWAYS:
            raise HttpRejected(
                503,
                "try-again",
                "Too many large request bodies are in progress. Nothing was stored; try again in a second.",
                _RETRY_CLOSING,
            )


def limit_in_flight(app: ASGIApp, admission: AdmissionControl) -> ASGIApp:
    """Wraps the framework, the most expensive part of a request. Limits large answers too: slow clients keep them in memory."""

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        answer = _BoundedAnswer(admission, send)
        if admission.in_flight >= IN_FLIGHT_MAX:
            await answer.reject(
                "Too many requests are in progress. Nothing was stored; try again in a second."
            )
            return
        admission.in_flight += 1
        try:
            await admission.pacing.begin()
            await app(scope, receive, answer.send)
        except Exception:
            if not answer.unread:  # the framework reports an error of its own for a stream that ends early
                raise
        finally:
            answer.begin()

    return asgi


class _BoundedAnswer:
    """One answer, whose start is delayed until the size of its body is known. Until then its request is in flight."""

    def __init__(self, admission: AdmissionControl, send: Send) -> None:
        self._admission, self._send = admission, send
        self._start: HTTPResponseStartEvent | None = None
        self._begun = False
        self.unread = False

    def begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._admission.in_flight -= 1

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        size = len(message["body"]) if message["type"] == "http.response.body" else 0
        start, self._start = self._start, None
        self.begin()
        if start is not None:
            if size > LARGE_ANSWER_BYTES and self._admission.answer_bytes + size > ANSWER_BYTES_MAX:
                await self.reject("Too many large answers are being sent. Try again in a second.")
                return
            await self._send(start)
        if size > LARGE_ANSWER_BYTES:
            await self._send_large(cast(Any, message), size)
        elif message.get("more_body"):
            await self._send_part(message)
        else:
            await self._send(message)

    async def _send_part(self, message: Message) -> None:
        try:
            await self._admission.send_in_time(self._send, message)
        except NotRead:
            self.unread = True
            raise

    async def reject(self, detail: str) -> None:
        for message in messages(HttpRejected(503, "try-again", detail, _RETRY_CLOSING)):
            await self._send(message)

    async def _send_large(self, message: dict[str, Any], size: int) -> None:
        self._admission.answer_bytes += size
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._send_pieces(message)
        finally:
            self._admission.answer_bytes -= size

    async def _send_pieces(self, message: dict[str, Any]) -> None:
        body, more_body = message["body"], message.get("more_body", False)
        for start in range(0, len(body), _PIECE_BYTES):
            piece, is_last = body[start : start + _PIECE_BYTES], start + _PIECE_BYTES >= len(body)
            await self._send(cast(Message, {**message, "body": piece, "more_body": more_body or not is_last}))
