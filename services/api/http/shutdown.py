"""The stop of an API process: streams end first, then requests in progress; the server closes connections meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio import Task
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from services.api.http.problems import HttpRejected, messages

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
DRAIN_SECONDS = 1.5  # for requests in progress, the slow bodies among them
CLOSE_SECONDS = 0.5  # for the connections, once no request is left
_STOPPING = HttpRejected(
    503,
    "try-again",
    "The server is stopping. Send the request again in a second: a vote that has an id counts only once.",
    {"Retry-After": "1", "Connection": "close"},
)
_log = structlog.get_logger()


class Shutdown:
    """Ends what would keep the server waiting, from the moment one of ``signals`` arrives.

    The server drains its connections before it ends the app's lifespan, so the lifespan is too late for this.
    """

    def __init__(self, signals: Sequence[signal.Signals] = ()) -> None:
        self._signals = signals
        self._end_streams: Callable[[], None] | None = None
        self._requests: set[Task[Any]] = set()
        self._stopping: Task[None] | None = None

    def track(self, app: ASGIApp) -> ASGIApp:
        async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != ScopeType.HTTP:
                await app(scope, receive, send)
            else:
                await self._answer(app, scope, receive, _Sending(send))

        return asgi

    @contextmanager
    def at_signals(self) -> Iterator[None]:
        """Until the block ends, a signal also begins the stop. What the server does at the signal goes on as before:
        its event loop learns of signals by a file descriptor, whichever function the interpreter calls.
        """
        loop = asyncio.get_running_loop()

        def begin(*_: object) -> None:
            loop.call_soon_threadsafe(self._begin)

        before = {number: signal.signal(number, begin) for number in self._signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def serving(self, end_streams: Callable[[], None]) -> Iterator[None]:
        """The block lasts until the server has closed its connections."""
        self._end_streams = end_streams
        try:
            yield
        finally:
            if self._stopping is not None:
                self._stopping.cancel()

    async def _answer(self, app: ASGIApp, scope: Scope, receive: Receive, sending: _Sending) -> None:
        task = cast("Task[Any]", asyncio.current_task())
        self._requests.add(task)
        try:
            await app(scope, receive, sending.send)
        except asyncio.CancelledError:
            if self._stopping is None or sending.started:
                raise
            task.uncancel()
            for message in messages(_STOPPING):
                await sending.send(message)
        finally:
            self._requests.discard(task)

    def _begin(self) -> None:
        if self._end_streams is None:
            os._exit(0)  # it was still starting, perhaps waiting for Postgres: there is nothing to end
        self._end_streams()
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(), name="stop")

    async def _stop(self) -> None:
        if not await self._drained(DRAIN_SECONDS):
            for task in self._requests:
                task.cancel()
            await self._drained(CLOSE_SECONDS)
        await asyncio.sleep(CLOSE_SECONDS)
        _log.warning("connections are left without a whole request; ending with them open")
        os._exit(0)

    async def _drained(self, seconds: float) -> bool:
        """Whether no request is left within this time."""
        if self._requests:
            await asyncio.wait(set(self._requests), timeout=seconds)
        return not self._requests


class _Sending:
    """The sender of one answer, and whether it has started."""

    __slots__ = ("_send", "started")

    def __init__(self, send: Send) -> None:
        self._send, self.started = send, False

    async def send(self, message: Message) -> None:
        self.started = True
        await self._send(message)
