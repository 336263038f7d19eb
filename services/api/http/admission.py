"""The hall: what everybody connected to this process may take of it: places, room for bodies and answers, time."""

from __future__ import annotations

import asyncio
import os
import time
from asyncio import Task
from typing import Any, cast

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send

from services.api.http.problems import HttpRejected, messages

IN_FLIGHT_MAX = 1_000  # requests that the framework has in hand, and no answer to yet
BODY_BYTES_MAX = 16 * 1024 * 1024  # bytes of bodies of requests in hand
ANSWER_BYTES_MAX = 16 * 1024 * 1024  # bytes of large answers on their way
LARGE_ANSWER_BYTES = 64 * 1024  # an answer above it goes out in pieces
_SMALL = 1024  # a body up to it is not refused for others' sake
_PIECE = 16 * 1024
_BODY_SECONDS = 10.0
_ANSWER_SECONDS = 60.0
_LOOK_SECONDS = 0.25
_LAST_OF = 16  # answers of a full hall; one of them ends its connection
_TOO_SLOW = "The body did not arrive within 10 seconds. Nothing was stored."
_STOOD_STILL = (
    "Nothing more of the body came for 10 seconds. Lines with ids can be sent again: they count once."
)
_LEAVE = {"Connection": "close"}
_CLOSE = (b"connection", b"close")
_TRY_AGAIN = {"Retry-After": "1", **_LEAVE}


class AdmissionControl:
    """One process's. It is ``saturated`` while about as many are connected as may be; others wait at the door."""

    def __init__(self, connections_max: int, streamed: str) -> None:
        self.connections_max, self.streamed = connections_max, streamed
        self.saturated = False
        self.in_flight = self.body_bytes = self.answer_bytes = 0
        self.receiving: dict[Task[Any], float] = {}  # who waits for a body, since when
        self.overdue: set[Task[Any]] = set()
        self._answered = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    async def watch(self) -> None:
        self._loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.saturated = _lowest_free_descriptor() >= self.connections_max
            self.cancel_overdue(time.perf_counter() - _BODY_SECONDS)

    def cancel_overdue(self, since: float) -> None:
        for task in [task for task, began in self.receiving.items() if began < since]:
            if task not in self.overdue:
                self.overdue.add(task)
                task.cancel()

    async def receive_before(self, receive: Receive, since: float, told: str = _TOO_SLOW) -> Message:
        """The next part of a body that has come since then. Raises Rejected with this text when it takes too long."""
        task = cast("Task[Any]", asyncio.current_task(self._loop))
        self.receiving[task] = since
        try:
            return cast(Message, await receive())
        except asyncio.CancelledError:
            if task not in self.overdue:
                raise
            task.uncancel()
            raise HttpRejected(408, "too-slow", told, _LEAVE) from None
        finally:
            self.receiving.pop(task, None)
            self.overdue.discard(task)

    def close_when_saturated(self, start: HTTPResponseStartEvent) -> HTTPResponseStartEvent:
        """In a full hall each 503, and one answer in some, is its connection's last: one who waits comes in."""
        self._answered += 1
        if start["status"] != 503 and self._answered % _LAST_OF:
            return start
        others = [header for header in start["headers"] if header != _CLOSE]
        return {**start, "headers": [*others, _CLOSE]}


def bound_requests(app: ASGIApp, admission: AdmissionControl) -> ASGIApp:
    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        request = BoundedRequest(admission, scope, receive, send)
        try:
            await app(scope, request.receive, request.send if admission.saturated else send)
        finally:
            request.leave()

    return asgi


class BoundedRequest:
    """One request, from its body's first byte to its answer."""

    __slots__ = ("_admission", "_bulk", "_held", "_receive", "_send", "_since", "_whole")

    def __init__(self, admission: AdmissionControl, scope: Scope, receive: Receive, send: Send) -> None:
        self._admission, self._receive, self._send = admission, receive, send
        self._bulk = scope["path"] == admission.streamed  # has senders of its own, and is not kept whole
        self._held, self._since, self._whole = 0, 0.0, False

    async def receive(self) -> Any:
        """Raises Rejected when the body takes too long, or there is no room for it."""
        if self._whole:
            return await self._receive()
        if self._bulk or not self._since:
            self._since = time.perf_counter()
        told = _STOOD_STILL if self._bulk else _TOO_SLOW
        message = cast(Any, await self._admission.receive_before(self._receive, self._since, told))
        self._whole = not message.get("more_body")
        if not self._bulk:
            self._hold(len(message.get("body", b"")))
        return message

    async def send(self, message: Message) -> None:
        """In a full hall."""
        if message["type"] == "http.response.start":
            message = self._admission.close_when_saturated(message)
        await self._send(message)

    def leave(self) -> None:
        self._admission.body_bytes -= self._held

    def _hold(self, size: int) -> None:
        self._held += size
        self._admission.body_bytes += size
        if self._admission.body_bytes > BODY_BYTES_MAX and self._held > _SMALL:
            raise HttpRejected(
                503,
                "try-again",
                "Too many large bodies are on their way. Nothing was stored; send it again in a second.",
                _TRY_AGAIN,
            )


def limit_in_flight(app: ASGIApp, admission: AdmissionControl) -> ASGIApp:
    """Around the framework, where a request costs most. Large answers are held for who reads slowly, too."""

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        answer = _BoundedAnswer(admission, send)
        if admission.in_flight >= IN_FLIGHT_MAX:
            await answer.refuse("Too many ask at once. Nothing was stored; ask again in a second.")
            return
        admission.in_flight += 1
        try:
            await app(scope, receive, answer.send)
        finally:
            answer.begin()

    return asgi


class _BoundedAnswer:
    """Counts as asked until it begins. Its start is held back until the size of what follows is known."""

    def __init__(self, admission: AdmissionControl, send: Send) -> None:
        self._admission, self._send = admission, send
        self._start: HTTPResponseStartEvent | None = None
        self._begun = False

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
        if (
            start is not None
            and size > LARGE_ANSWER_BYTES
            and self._admission.answer_bytes + size > ANSWER_BYTES_MAX
        ):
            await self.refuse("Too many large answers are being read. Ask again in a second.")
            return
        if start is not None:
            await self._send(start)
        if size <= LARGE_ANSWER_BYTES:
            await self._send(message)
            return
        self._admission.answer_bytes += size
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._send_all(cast(Any, message))
        finally:
            self._admission.answer_bytes -= size

    async def refuse(self, detail: str) -> None:
        for message in messages(HttpRejected(503, "try-again", detail, _TRY_AGAIN)):
            await self._send(message)

    async def _send_all(self, message: dict[str, Any]) -> None:
        body, more = message["body"], message.get("more_body", False)
        for start in range(0, len(body), _PIECE):
            rest = start + _PIECE < len(body)
            await self._send(
                cast(Message, {**message, "body": body[start : start + _PIECE], "more_body": rest or more})
            )


def _lowest_free_descriptor() -> int:
    """All below it are open."""
    try:
        free = os.dup(0)
    except OSError:
        return 1 << 31
    os.close(free)
    return free
