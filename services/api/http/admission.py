"""The hall: what everybody connected to this process may take of it: places, room for bodies and answers, time."""

from __future__ import annotations

import asyncio
import os
import time
from asyncio import Task
from typing import Any, cast

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPResponseStartEvent, Message, Receive, Scope, Send

from services.api.http.problems import Rejected, messages

MOST_ASKING = 1_000  # requests that the framework has in hand, and no answer to yet
MOST_BODIES = 16 * 1024 * 1024  # bytes of bodies of requests in hand
MOST_ANSWERS = 16 * 1024 * 1024  # bytes of large answers on their way
LARGE = 64 * 1024  # an answer above it goes out in pieces
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


class Hall:
    """One process's. It is ``full`` while about as many are connected as may be; others wait at the door."""

    def __init__(self, places: int, streamed: str) -> None:
        self.places, self.streamed = places, streamed
        self.full = False
        self.asking = self.bodies = self.answers = 0
        self.arriving: dict[Task[Any], float] = {}  # who waits for a body, since when
        self.late: set[Task[Any]] = set()
        self._answered = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    async def watch(self) -> None:
        self._loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.full = _lowest_free_descriptor() >= self.places
            self.cut_off(time.perf_counter() - _BODY_SECONDS)

    def cut_off(self, since: float) -> None:
        for task in [task for task, began in self.arriving.items() if began < since]:
            if task not in self.late:
                self.late.add(task)
                task.cancel()

    async def arrival(self, receive: Receive, since: float, told: str = _TOO_SLOW) -> Message:
        """The next part of a body that has come since then. Raises Rejected with this text when it takes too long."""
        task = cast("Task[Any]", asyncio.current_task(self._loop))
        self.arriving[task] = since
        try:
            return cast(Message, await receive())
        except asyncio.CancelledError:
            if task not in self.late:
                raise
            task.uncancel()
            raise Rejected(408, "too-slow", told, _LEAVE) from None
        finally:
            self.arriving.pop(task, None)
            self.late.discard(task)

    def farewell(self, start: HTTPResponseStartEvent) -> HTTPResponseStartEvent:
        """In a full hall each 503, and one answer in some, is its connection's last: one who waits comes in."""
        self._answered += 1
        if start["status"] != 503 and self._answered % _LAST_OF:
            return start
        others = [header for header in start["headers"] if header != _CLOSE]
        return {**start, "headers": [*others, _CLOSE]}


def visited(app: ASGIApp, hall: Hall) -> ASGIApp:
    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        visit = Visit(hall, scope, receive, send)
        try:
            await app(scope, visit.receive, visit.send if hall.full else send)
        finally:
            visit.leave()

    return asgi


class Visit:
    """One request, from its body's first byte to its answer."""

    __slots__ = ("_bulk", "_hall", "_held", "_receive", "_send", "_since", "_whole")

    def __init__(self, hall: Hall, scope: Scope, receive: Receive, send: Send) -> None:
        self._hall, self._receive, self._send = hall, receive, send
        self._bulk = scope["path"] == hall.streamed  # has senders of its own, and is not kept whole
        self._held, self._since, self._whole = 0, 0.0, False

    async def receive(self) -> Any:
        """Raises Rejected when the body takes too long, or there is no room for it."""
        if self._whole:
            return await self._receive()
        if self._bulk or not self._since:
            self._since = time.perf_counter()
        told = _STOOD_STILL if self._bulk else _TOO_SLOW
        message = cast(Any, await self._hall.arrival(self._receive, self._since, told))
        self._whole = not message.get("more_body")
        if not self._bulk:
            self._hold(len(message.get("body", b"")))
        return message

    async def send(self, message: Message) -> None:
        """In a full hall."""
        if message["type"] == "http.response.start":
            message = self._hall.farewell(message)
        await self._send(message)

    def leave(self) -> None:
        self._hall.bodies -= self._held

    def _hold(self, size: int) -> None:
        self._held += size
        self._hall.bodies += size
        if self._hall.bodies > MOST_BODIES and self._held > _SMALL:
            raise Rejected(
                503,
                "try-again",
                "Too many large bodies are on their way. Nothing was stored; send it again in a second.",
                _TRY_AGAIN,
            )


def hold_little(app: ASGIApp, hall: Hall) -> ASGIApp:
    """Around the framework, where a request costs most. Large answers are held for who reads slowly, too."""

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        answer = _Answer(hall, send)
        if hall.asking >= MOST_ASKING:
            await answer.refuse("Too many ask at once. Nothing was stored; ask again in a second.")
            return
        hall.asking += 1
        try:
            await app(scope, receive, answer.send)
        finally:
            answer.begin()

    return asgi


class _Answer:
    """Counts as asked until it begins. Its start is held back until the size of what follows is known."""

    def __init__(self, hall: Hall, send: Send) -> None:
        self._hall, self._send = hall, send
        self._start: HTTPResponseStartEvent | None = None
        self._begun = False

    def begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._hall.asking -= 1

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        size = len(message["body"]) if message["type"] == "http.response.body" else 0
        start, self._start = self._start, None
        self.begin()
        if start is not None and size > LARGE and self._hall.answers + size > MOST_ANSWERS:
            await self.refuse("Too many large answers are being read. Ask again in a second.")
            return
        if start is not None:
            await self._send(start)
        if size <= LARGE:
            await self._send(message)
            return
        self._hall.answers += size
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._send_all(cast(Any, message))
        finally:
            self._hall.answers -= size

    async def refuse(self, detail: str) -> None:
        for message in messages(Rejected(503, "try-again", detail, _TRY_AGAIN)):
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
