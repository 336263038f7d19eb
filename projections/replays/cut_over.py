"""Cut over: the rebuilt version of a read model replaces the live one; roll back: the previous version returns."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

from asyncpg import DeadlockDetectedError, LockNotAvailableError, Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.events.editorial import ReplayAccepted
from eventstore.decisions import Author, decide_editorial
from eventstore.polling import poll_until
from projections.engine.advance_lock import lock_all_advances
from projections.engine.parked import delete_parked, rename_parked
from projections.engine.projection import Projection
from projections.replays.jobs import DELETE_CHECKPOINTS, WrongReplayState

ARE_AT_ONE_POSITION = """
SELECT bool_and(same)
  FROM (SELECT h.shard, count(c.position) = 2 AND min(c.position) = max(c.position) AS same
          FROM heads AS h LEFT JOIN checkpoints AS c ON c.shard = h.shard AND c.projection IN ($1, $2)
         GROUP BY h.shard) AS each_shard
"""
NO_OLD_READERS = "SELECT NOT EXISTS (SELECT FROM replays WHERE id = $1 AND oldest_transaction() < joined_at)"
MARK_CUT_OVER = """
UPDATE replays SET state = 'cut-over', reason = coalesce($2::text, reason), ended_at = clock_timestamp()
 WHERE id = $1 AND (state = 'equal' OR state = 'different' AND $2::text IS NOT NULL)
RETURNING drift
"""
FIND_LAST_CUT_OVER = """
SELECT id FROM replays WHERE projection = $1 AND state IN ('cut-over', 'rolled-back') ORDER BY ended_at DESC LIMIT 1
"""
MARK_ROLLED_BACK = (
    "UPDATE replays SET state = 'rolled-back' WHERE id = $1 AND state = 'cut-over' RETURNING id"
)
RENAME_CHECKPOINTS = "UPDATE checkpoints SET projection = $2 WHERE projection = $1"
SET_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '250ms'"


class Acceptance(Struct, frozen=True):
    """An editor's statement that the rebuilt version is the correct one where the two differ."""

    reason: str
    author: Author


async def cut_over(
    pool: Pool[Record], live: Projection, id: UUID, acceptance: Acceptance | None = None
) -> None:
    """Replace the live version by the rebuilt one. Raises WrongReplayState unless they are equal or there is an acceptance.

    Waits for readers whose snapshot is older than the join, because they would see the versions at two positions.
    """
    await poll_until(partial(pool.fetchval, NO_OLD_READERS, id), math.inf)
    await retry_on_lock_timeout(pool, partial(_cut_over, live=live, id=id, acceptance=acceptance))


async def _cut_over(
    conn: PoolConnectionProxy[Record], live: Projection, id: UUID, acceptance: Acceptance | None
) -> None:
    await _lock_at_one_position(conn, live, live.shadow)
    drift = await conn.fetchval(MARK_CUT_OVER, id, acceptance.reason if acceptance else None)
    if drift is None:
        raise WrongReplayState(state="not compared, or different without a reason given", wanted="cut over")
    if drift and acceptance:
        event = ReplayAccepted(id, live.name, drift, acceptance.reason)
        await decide_editorial(conn, lambda _: [event], acceptance.author)
    await conn.execute(DELETE_CHECKPOINTS, live.previous.name)
    await conn.execute(RENAME_CHECKPOINTS, live.shadow.name, live.previous.name)
    await delete_parked(conn, live.previous.name)
    await rename_parked(conn, (live.name, live.previous.name), (live.shadow.name, live.name))
    await conn.execute(SET_LOCK_TIMEOUT)
    await conn.execute(live.cut_over)


async def roll_back(pool: Pool[Record], live: Projection, id: UUID | None = None) -> None:
    """Undo the last cut-over, which must be that of ``id`` if given. The previous version was advanced all along.

    Raises WrongReplayState if there is no previous version.
    """
    newest = await pool.fetchval(FIND_LAST_CUT_OVER, live.name)
    if newest is None or id not in (None, newest):
        raise WrongReplayState(state="not the last that cut over", wanted="rolled back")
    await retry_on_lock_timeout(pool, partial(_roll_back, live=live, id=newest))


async def _roll_back(conn: PoolConnectionProxy[Record], live: Projection, id: UUID) -> None:
    await _lock_at_one_position(conn, live, live.previous)
    if await conn.fetchval(MARK_ROLLED_BACK, id) is None:
        raise WrongReplayState(state="rolled back", wanted="rolled back again")
    shadow, previous = live.shadow.name, live.previous.name
    await rename_parked(conn, (live.name, shadow), (previous, live.name), (shadow, previous))
    await conn.execute(SET_LOCK_TIMEOUT)
    await conn.execute(live.roll_back)


async def _lock_at_one_position(
    conn: PoolConnectionProxy[Record], live: Projection, other: Projection
) -> None:
    """Lock the advances of all shards. Raises WrongReplayState unless both versions are at one position."""
    await lock_all_advances(conn)
    if not await conn.fetchval(ARE_AT_ONE_POSITION, live.name, other.name):
        raise WrongReplayState(state="without a second version at the live one's position", wanted="swapped")


async def retry_on_lock_timeout(
    pool: Pool[Record], action: Callable[[PoolConnectionProxy[Record]], Awaitable[None]]
) -> None:
    """Run ``action`` in one transaction; retry until it gets its locks within the lock timeout.

    Readers that queue behind it for a lock wait for at most a quarter of a second.
    """
    while True:
        try:
            async with pool.acquire() as conn, conn.transaction():
                return await action(conn)
        except (LockNotAvailableError, DeadlockDetectedError):
            await asyncio.sleep(0.05)
