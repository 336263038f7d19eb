"""Pacing: a burst of requests begins over several passes of the event loop, so that votes are answered in between."""

from __future__ import annotations

import asyncio

STARTS_MAX = 8  # of requests to the framework, each of which takes up to a millisecond, in one pass


class Pacing:
    """``begin`` returns at once for the first requests of a pass; the others follow in their order."""

    def __init__(self, starts_max: int = STARTS_MAX) -> None:
        self._starts_max, self._starts = starts_max, 0
        self._turns = asyncio.Lock()

    async def begin(self) -> None:
        if not self._starts:
            asyncio.get_running_loop().call_soon(self._next_pass)
        self._starts += 1
        if self._starts > self._starts_max or self._turns.locked():
            async with self._turns:
                await asyncio.sleep(0)

    def _next_pass(self) -> None:
        self._starts = 0
