"""Long computations on the event loop, divided so that other requests are answered in between."""

from __future__ import annotations

import asyncio
import time

YIELD_AFTER_SECONDS = 0.005


class EventLoopYield:
    """``pause`` lets other tasks run when the last time is longer ago than YIELD_AFTER_SECONDS, and else costs nothing."""

    def __init__(self) -> None:
        self._resumed = time.perf_counter()

    async def pause(self) -> None:
        if time.perf_counter() - self._resumed > YIELD_AFTER_SECONDS:
            await asyncio.sleep(0)
            self._resumed = time.perf_counter()
