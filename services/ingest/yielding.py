"""Long computations on the event loop, divided so that other requests are answered in between."""

from __future__ import annotations

import asyncio
import time

YIELD_AFTER_SECONDS = 0.005


_next_turn = 0.0  # on the clock of time.perf_counter


class EventLoopYield:
    """``pause`` lets other tasks run when the last time is longer ago than YIELD_AFTER_SECONDS, and else costs nothing.

    Several computations resume one after the other and take half of the time, so that together they delay other requests
    hardly longer than one of them.
    """

    def __init__(self) -> None:
        self._resumed = time.perf_counter()

    async def pause(self) -> None:
        global _next_turn
        now = time.perf_counter()
        if now - self._resumed <= YIELD_AFTER_SECONDS:
            return
        turn = max(now, _next_turn)
        _next_turn = turn + YIELD_AFTER_SECONDS * (2 if turn > now else 1)
        await asyncio.sleep(turn - now)
        self._resumed = time.perf_counter()
