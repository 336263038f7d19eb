"""Polling: wait for a condition in the database that sends no notification."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


async def poll_until(
    condition: Callable[[], Awaitable[bool]], seconds: float, interval: float = 0.015
) -> bool:
    """Whether ``condition`` held within ``seconds``. It is checked every ``interval`` seconds, and at least once."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(interval)
    return True
