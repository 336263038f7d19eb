"""Long computations on the event loop, divided so that other requests are answered in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

YIELD_AFTER_SECONDS = 0.003


class EventLoopTurns:
    """Lets the computations of a process resume one after the other, each in a pass of the event loop of its own.

    Together they delay other requests hardly longer than one of them. While ``votes_waiting`` is not 0 they take half of
    the time.
    """

    def __init__(self, votes_waiting: Callable[[], int] = lambda: 0) -> None:
        self._lock, self._votes_waiting = asyncio.Lock(), votes_waiting

    async def take(self) -> None:
        async with self._lock:
            await asyncio.sleep(0)
            if self._votes_waiting():
                await asyncio.sleep(YIELD_AFTER_SECONDS)


class EventLoopYield:
    """``pause`` lets other tasks run when the last time is longer ago than YIELD_AFTER_SECONDS, and else costs nothing."""

    def __init__(self, turns: EventLoopTurns) -> None:
        self._turns = turns
        self._resumed = time.perf_counter()

    async def pause(self) -> None:
        if time.perf_counter() - self._resumed > YIELD_AFTER_SECONDS:
            await self._turns.take()
            self._resumed = time.perf_counter()
