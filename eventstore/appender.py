"""Group commit: casts that arrive while a commit is in flight form the next group of their shard."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import islice

import asyncpg
from asyncpg import Pool, Record

from domain.shared.log import Shard, shard_of
from eventstore.casts import CastResult, FirstVoteHeuristic, PendingCast, append_casts

# One item's data is at fault, not the connection.
REFUSED_DATA = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)

# How long a lane waits for the commit of another, and how much a group must grow in a turn of the loop to wait on.
_PATIENCE_SECONDS = 0.02
_GROWTH = 1.125

QueuedCast = tuple[PendingCast, "Future[CastResult]"]
OnAppended = Callable[[Shard, Sequence[CastResult]], None]


class Overloaded(Exception):
    """The queue of votes is full. Nothing was stored; send the same vote again in a second."""


class CommitUnknown(Exception):
    """The database did not confirm. Send the same vote with the same id again: it counts once."""


class CommitTurns:
    """One commit in flight at a time, for all lanes: what arrives meanwhile makes larger groups, which cost less.

    A commit that takes long, because its shard is locked elsewhere, keeps nobody waiting for longer than a moment.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        try:
            await asyncio.wait_for(self._free.acquire(), _PATIENCE_SECONDS)
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            self._free.release()


class Appender:
    """One shard's queue, and the one task that empties it. ``append`` returns after the commit."""

    def __init__(
        self,
        pool: Pool[Record],
        shard: Shard,
        on_appended: OnAppended,
        turns: CommitTurns,
        *,
        queue: int,
        group: int,
        timeout: float,
    ) -> None:
        self._pool, self._shard, self._on_appended, self._turns = pool, shard, on_appended, turns
        self._queue_max, self._group, self._timeout = queue, group, timeout
        self._queued: deque[QueuedCast] = deque()
        self._heuristic = FirstVoteHeuristic()
        self._arrived = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._run(), name=f"appender {shard}")

    @property
    def waiting(self) -> int:
        return len(self._queued)

    def append(self, cast: PendingCast) -> Future[CastResult]:
        """The answer, after the commit. Raises Overloaded when nothing was tried; gives Unsettled if unknown."""
        if len(self._queued) >= self._queue_max:
            raise Overloaded
        answer: Future[CastResult] = self._loop.create_future()
        self._queued.append((cast, answer))
        self._arrived.set()
        return answer

    async def close(self) -> None:
        """Commit what waits, then stop."""
        while self._queued:
            await asyncio.wait([answer for _, answer in self._queued])
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queued:
                async with self._turns.one():
                    await self._collect()
                    await self._commit_next()

    async def _collect(self) -> None:
        """Requests that have arrived but were not heard yet are in the next turns of the loop: take them along.

        What trickles in is not waited for: each turn must bring a good part of what is there.
        """
        seen = 0.0
        while seen < len(self._queued) < self._group:
            seen = len(self._queued) * _GROWTH
            await asyncio.sleep(0)

    async def _commit_next(self) -> None:
        group = list(islice(self._queued, self._group))
        await self._commit(group)
        for _ in group:
            self._queued.popleft()

    async def _commit(self, group: list[QueuedCast]) -> None:
        """Settle a group. When the database rejects an item's data, the halves are tried apart."""
        try:
            results = await self._append([cast for cast, _ in group])
            _answer(group, results)
            self._on_appended(self._shard, results)
        except REFUSED_DATA as error:
            if len(group) == 1:
                return _fail(group, error)
            middle = len(group) // 2
            await self._commit(group[:middle])
            await self._commit(group[middle:])
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            _fail(group, CommitUnknown(str(error)))
        except Exception as error:  # noqa: BLE001 - callers hear of it, and the lane goes on
            _fail(group, error)

    async def _append(self, casts: list[PendingCast]) -> list[CastResult]:
        async with asyncio.timeout(self._timeout), self._pool.acquire() as conn:
            return await append_casts(conn, self._shard, casts, self._heuristic)


def _answer(group: list[QueuedCast], results: list[CastResult]) -> None:
    for (_, waiting), answer in zip(group, results, strict=True):
        if not waiting.done():
            waiting.set_result(answer)


def _fail(group: list[QueuedCast], error: Exception) -> None:
    for _, answer in group:
        if not answer.done():
            answer.set_exception(error)


class Appenders:
    """One appender per shard of people."""

    def __init__(
        self,
        pool: Pool[Record],
        shards: int,
        on_appended: OnAppended,
        *,
        queue: int = 20_000,
        group: int = 1_000,
        timeout: float = 3.0,
    ) -> None:
        self._shards, turns = shards, CommitTurns()
        self._appenders = {
            shard: Appender(pool, Shard(shard), on_appended, turns, queue=queue, group=group, timeout=timeout)
            for shard in range(1, shards + 1)
        }

    @property
    def waiting(self) -> int:
        return sum(queue.waiting for queue in self._appenders.values())

    def append(self, cast: PendingCast) -> Future[CastResult]:
        return self._appenders[shard_of(cast.actor, self._shards)].append(cast)

    async def close(self) -> None:
        await asyncio.gather(*(queue.close() for queue in self._appenders.values()))
