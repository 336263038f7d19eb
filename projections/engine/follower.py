"""Follower: reads the checkpoints once for all requests of a process that wait until read models reach a position."""

from __future__ import annotations

import asyncio
import contextvars
from asyncio import Future
from collections.abc import Collection, Sequence
from typing import TypeAlias
from weakref import WeakKeyDictionary

from asyncpg import Pool, Record
from msgspec import Struct

from domain.shared.log import Position
from projections.engine.snapshot import ReadModelBehind

WAITERS_MAX = 200
WAITERS_IN_VAIN_MAX = 300
WAIT_SECONDS_MAX = 2.0
_READ_SECONDS_MIN = 0.02  # between two reads
READ_HEADS_AND_CHECKPOINTS = """
SELECT shard, NULL AS projection, position FROM heads
 UNION ALL SELECT shard, projection, position FROM checkpoints
 UNION ALL SELECT shard, 'flips', position FROM flips_frontier
"""
FLIPS = "flips"  # in place of a read model's name, for the list of flips

# Positions by shard and read model; None for the head of the log.
Reached: TypeAlias = "dict[tuple[int, str | None], int]"


class TooManyWaiters(Exception):
    """Too many requests wait for a log position. Try again in a second, or without min_position."""


class _Waiter(Struct, frozen=True, eq=False):
    names: Collection[str]
    wanted: Sequence[Position]
    reached: Future[None]

    def is_met_by(self, reached: Reached) -> bool:
        """A read model has no checkpoint in a shard that it does not read."""
        for at in self.wanted:
            positions = [reached[at.shard, name] for name in self.names if (at.shard, name) in reached]
            if not positions or min(positions) < at.number:
                return False
        return True

    def is_possible(self, reached: Reached) -> bool:
        """A position beyond the head was not acknowledged to anybody."""
        return all(reached.get((at.shard, None), -1) >= at.number for at in self.wanted)


class CheckpointFollower:
    """Reads while requests wait, however many they are."""

    def __init__(self, pool: Pool[Record]) -> None:
        self._pool = pool
        self._waiters: set[_Waiter] = set()
        self._in_vain: set[_Waiter] = set()  # for positions that are not in the log
        self._turns = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def wait(self, names: Collection[str], wanted: Sequence[Position]) -> None:
        """Return once the read models have folded the wanted positions.

        Raises ReadModelBehind after 2 s, and TooManyWaiters. A position that is not in the log takes 2 s too, but nothing
        is read for it: an answer at once would let a client ask all the more often.
        """
        waiter = _Waiter(names, wanted, asyncio.get_running_loop().create_future())
        if len(self._waiters) >= WAITERS_MAX:
            raise TooManyWaiters
        self._waiters.add(waiter)
        if self._task is None or self._task.done():
            # In a context of its own: the reads are not part of the request that happens to start them.
            self._task = asyncio.create_task(self._follow(), context=contextvars.Context())
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await waiter.reached
        except TimeoutError:
            async with self._turns:  # many that began together end together: one in a pass of the event loop
                await asyncio.sleep(0)
            raise ReadModelBehind from None
        finally:
            self._waiters.discard(waiter)
            self._in_vain.discard(waiter)

    async def _follow(self) -> None:
        while waiting := list(self._waiters):
            try:
                rows = await self._pool.fetch(READ_HEADS_AND_CHECKPOINTS)
            except Exception as error:  # noqa: BLE001 - those who wait receive it
                for waiter in waiting:
                    _end(waiter, error)
            else:
                self._answer(waiting, {(row["shard"], row["projection"]): row["position"] for row in rows})
            await asyncio.sleep(_READ_SECONDS_MIN)

    def _answer(self, waiting: Sequence[_Waiter], reached: Reached) -> None:
        for waiter in waiting:
            if waiter.is_met_by(reached):
                _end(waiter)
            elif not waiter.is_possible(reached):
                self._waiters.discard(waiter)
                self._in_vain.add(waiter)
                if len(self._in_vain) > WAITERS_IN_VAIN_MAX:
                    _end(waiter, ReadModelBehind())


def _end(waiter: _Waiter, error: Exception | None = None) -> None:
    if waiter.reached.done():
        return
    if error is None:
        waiter.reached.set_result(None)
    else:
        waiter.reached.set_exception(error)


_followers: WeakKeyDictionary[Pool[Record], CheckpointFollower] = WeakKeyDictionary()


def follower_of(pool: Pool[Record]) -> CheckpointFollower:
    """The one follower of a pool."""
    follower = _followers.get(pool)
    if follower is None:
        follower = _followers[pool] = CheckpointFollower(pool)
    return follower
