"""Bulk slots: how many bulk requests a process handles, how many of one API key, and which one makes room for another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from eventstore.appender import Overloaded

T = TypeVar("T", bound=bytes)

SLOTS_MAX = 8
KEY_SLOTS_MAX = 6
# Above these a body is slow, and makes room when another sender finds no slot; at the others it is ended.
SLOW_SECONDS, SLOW_BYTES_PER_SECOND = 1.0, 16 * 1024
WAIT_SECONDS_MAX, BYTES_PER_SECOND_MIN = 10.0, 1024
BODY_SECONDS_MAX = 300.0  # in which a body must arrive, without the time in which it is processed


class BodyTooSlow(Exception):
    """The body arrived too slowly, and others waited or the limit was reached."""


class BulkSlot:
    """One bulk request: the time for which its body was awaited, and how much of it has arrived."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._bytes, self._waited, self._since = 0, 0.0, 0.0
        self._receiving: asyncio.Task[object] | None = None
        self._given_up = False

    async def receive(self, part: Awaitable[T]) -> T:
        """The next part. Raises BodyTooSlow when it is too slow, or has made room for another request."""
        if self._given_up:
            raise BodyTooSlow
        self._receiving, self._since = asyncio.current_task(), time.monotonic()
        try:
            received = await part
        except asyncio.CancelledError:
            if self._given_up:
                raise BodyTooSlow from None
            raise
        finally:
            self._waited, self._receiving = self.waited, None
        self._bytes += len(received)
        if (
            received and self._is_below(WAIT_SECONDS_MAX, BYTES_PER_SECOND_MIN)
        ) or self._waited > BODY_SECONDS_MAX:
            raise BodyTooSlow
        return received

    @property
    def waited(self) -> float:
        """Seconds, up to now."""
        return self._waited + (time.monotonic() - self._since if self._receiving else 0.0)

    @property
    def is_slow(self) -> bool:
        return self._receiving is not None and self._is_below(SLOW_SECONDS, SLOW_BYTES_PER_SECOND)

    def give_up(self) -> None:
        self._given_up = True
        if self._receiving is not None:
            self._receiving.cancel()

    def _is_below(self, seconds: float, bytes_per_second: float) -> bool:
        return self.waited > seconds and self._bytes < self.waited * bytes_per_second


class BulkSlots:
    """Limits the bulk requests in progress to SLOTS_MAX, and those of one key to KEY_SLOTS_MAX."""

    def __init__(self) -> None:
        self._taken: set[BulkSlot] = set()

    @contextmanager
    def acquire(self, key: str) -> Iterator[BulkSlot]:
        """Raises Overloaded at once when no slot is free and no body is slow."""
        if sum(slot.key == key for slot in self._taken) >= KEY_SLOTS_MAX:
            self._make_room([slot for slot in self._taken if slot.key == key])
        if len(self._taken) >= SLOTS_MAX:
            self._make_room(list(self._taken))
        slot = BulkSlot(key)
        self._taken.add(slot)
        try:
            yield slot
        finally:
            self._taken.discard(slot)

    def _make_room(self, slots: list[BulkSlot]) -> None:
        """The body that was awaited longest is given up."""
        slow = [slot for slot in slots if slot.is_slow]
        if not slow:
            raise Overloaded
        slowest = max(slow, key=lambda slot: slot.waited)
        slowest.give_up()
        self._taken.discard(slowest)
