"""Group commit: casts that arrive while a commit is in flight form the next batch of their shard."""

from __future__ import annotations

import asyncio
import time
from asyncio import Future
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import islice

import asyncpg
from asyncpg import Pool, Record

from domain.shared.log import Shard, shard_of
from domain.voting.votes import IdConflict
from eventstore.casts import CastResult, FirstVoteHeuristic, PendingCast, append_casts
from eventstore.deadlines import USE_SECONDS_MAX, Deadline, end_of_use, limited_by
from eventstore.recent_ids import RecentIds

# The data of one cast is at fault, not the connection.
REJECTED_DATA = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)
# The batch may or may not be committed. asyncpg raises InternalClientError when a connection breaks in its own protocol.
UNKNOWN_OUTCOME = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
# No commit can succeed until somebody makes room.
STORAGE_ERRORS = (asyncpg.DiskFullError, asyncpg.PostgresIOError, asyncpg.OutOfMemoryError)
STORAGE_RETRY_SECONDS = 15.0

_TURN_WAIT_SECONDS_MAX = 0.02
_GROWTH_MIN = 1.125  # of a batch in one pass of the event loop, to wait for another pass
_COMMIT_SHARE_MIN = 1 / 3  # of a cast's time, left when its commit begins

# The cast, its result, and the time on the event loop's clock by which it has one.
QueuedCast = tuple[PendingCast, "Future[CastResult]", float]
OnAppended = Callable[[Shard, Sequence[CastResult]], None]


class Overloaded(Exception):
    """The queue of votes is full. Nothing was stored; send the same vote again in a second."""


class WaitedTooLong(Overloaded):
    """The votes before this one took too long to store. Nothing was stored; send the same vote again in a second."""


class CommitUnknown(Exception):
    """The database did not confirm. Send the same vote with the same id again: it counts once."""


class CommitTurns:
    """One commit in flight at a time for all shards: casts that arrive meanwhile make larger, cheaper batches.

    A shard waits at most 20 ms for its turn, so a commit that is blocked by a lock does not delay the others.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        try:
            await asyncio.wait_for(self._free.acquire(), _TURN_WAIT_SECONDS_MAX)
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            self._free.release()


class Appender:
    """The queue of one shard, and the task that commits it in batches."""

    def __init__(
        self,
        pool: Pool[Record],
        shard: Shard,
        on_appended: OnAppended,
        turns: CommitTurns,
        recent_ids: RecentIds,
        *,
        queue_max: int,
        batch_max: int,
        timeout_seconds: float,
    ) -> None:
        self._pool, self._shard, self._on_appended, self._turns = pool, shard, on_appended, turns
        self._recent_ids = recent_ids
        self._queue_max, self._batch_max, self._timeout_seconds = queue_max, batch_max, timeout_seconds
        self._queued: deque[QueuedCast] = deque()
        self._heuristic = FirstVoteHeuristic()
        self._storage_error: tuple[float, Exception] | None = None
        self._arrived = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._run(), name=f"appender {shard}")

    @property
    def queued(self) -> int:
        return len(self._queued)

    @property
    def storage_error(self) -> Exception | None:
        """Why the last commit could not be stored. None again after a success, or some seconds later: to try once more."""
        at, error = self._storage_error or (0.0, None)
        return error if time.monotonic() - at < STORAGE_RETRY_SECONDS else None

    def append(self, cast: PendingCast) -> Future[CastResult]:
        """The result, set after the commit; CommitUnknown, WaitedTooLong, or IdConflict where nothing was stored.

        Raises Overloaded when the queue is full, and IdConflict for an id that was used for another vote.
        """
        if len(self._queued) >= self._queue_max:
            raise Overloaded
        if not cast.id_is_ours and not self._recent_ids.claim(
            cast.id, cast.actor, str(cast.tool), cast.choice
        ):
            raise IdConflict(id=cast.id)
        result: Future[CastResult] = self._loop.create_future()
        self._queued.append((cast, result, end_of_use(self._timeout_seconds)))
        self._arrived.set()
        return result

    async def close(self) -> None:
        """Commit what is queued, then stop."""
        while self._queued:
            await asyncio.wait([result for _, result, _ in self._queued])
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queued:
                async with self._turns.turn():
                    await self._collect()
                    await self._commit_next()

    async def _collect(self) -> None:
        """Yield to the event loop, which reads further requests, until a pass adds less than 12.5 % to the batch."""
        seen = 0.0
        while seen < len(self._queued) < self._batch_max:
            seen = len(self._queued) * _GROWTH_MIN
            await asyncio.sleep(0)

    async def _commit_next(self) -> None:
        batch = list(islice(self._queued, self._batch_max))
        if in_time := self._in_time(batch):
            deadline = Deadline()
            deadline.at = min(end for _, _, end in in_time)
            with limited_by(deadline):
                await self._commit(in_time)
        for _ in batch:
            self._queued.popleft()

    def _in_time(self, batch: list[QueuedCast]) -> list[QueuedCast]:
        """The casts that have time for a commit; the others fail."""
        latest = self._loop.time() + self._timeout_seconds * _COMMIT_SHARE_MIN
        if late := [queued for queued in batch if queued[2] < latest]:
            _fail(late, WaitedTooLong())
            return [queued for queued in batch if queued[2] >= latest]
        return batch

    async def _commit(self, batch: list[QueuedCast]) -> None:
        """Commit a batch. When the database rejects a cast's data, each half is committed separately."""
        try:
            results = await self._append([cast for cast, _, _ in batch])
            self._storage_error = None
            _succeed(batch, results)
            self._on_appended(self._shard, results)
        except REJECTED_DATA as error:
            if len(batch) == 1:
                return _fail(batch, error)
            middle = len(batch) // 2
            await self._commit(batch[:middle])
            await self._commit(batch[middle:])
        except UNKNOWN_OUTCOME as error:
            if isinstance(error, STORAGE_ERRORS):
                self._storage_error = time.monotonic(), error
            _fail(batch, CommitUnknown(str(error)))
        except Exception as error:  # noqa: BLE001 - callers receive it, and the task keeps running
            _fail(batch, error)

    async def _append(self, casts: list[PendingCast]) -> list[CastResult]:
        async with self._pool.acquire(timeout=self._timeout_seconds) as conn:
            return await append_casts(conn, self._shard, casts, self._heuristic)


def _succeed(batch: list[QueuedCast], results: list[CastResult]) -> None:
    for (cast, waiting, _), result in zip(batch, results, strict=True):
        if waiting.done():
            continue
        if result.outcome == "conflict":
            waiting.set_exception(IdConflict(id=cast.id))
        else:
            waiting.set_result(result)


def _fail(batch: list[QueuedCast], error: Exception) -> None:
    for _, waiting, _ in batch:
        if not waiting.done():
            waiting.set_exception(error)


class Appenders:
    """One appender per voter shard."""

    def __init__(
        self,
        pool: Pool[Record],
        shards: int,
        on_appended: OnAppended,
        recent_ids: RecentIds | None = None,
        *,
        queue_max: int = 20_000,
        batch_max: int = 1_000,
        timeout_seconds: float = USE_SECONDS_MAX,
    ) -> None:
        self._shards, turns, recent_ids = shards, CommitTurns(), recent_ids or RecentIds()
        self._appenders = {
            shard: Appender(
                pool,
                Shard(shard),
                on_appended,
                turns,
                recent_ids,
                queue_max=queue_max,
                batch_max=batch_max,
                timeout_seconds=timeout_seconds,
            )
            for shard in range(1, shards + 1)
        }

    @property
    def queued(self) -> int:
        return sum(appender.queued for appender in self._appenders.values())

    @property
    def storage_error(self) -> Exception | None:
        errors = (appender.storage_error for appender in self._appenders.values())
        return next((error for error in errors if error is not None), None)

    def append(self, cast: PendingCast) -> Future[CastResult]:
        return self._appenders[shard_of(cast.actor, self._shards)].append(cast)

    async def close(self) -> None:
        await asyncio.gather(*(appender.close() for appender in self._appenders.values()))
