"""Cut over: the rebuilt version of a read model becomes the live one, and the last one can come back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

from asyncpg import DeadlockDetectedError, LockNotAvailableError, Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.events.editorial import ReplayAccepted
from eventstore.decisions import Author, decide_editorial
from projections.engine.parked import delete_parked, rename_parked
from projections.engine.projection import Projection
from projections.replays.jobs import NotNow

# In the order of shards, as whoever holds several does it.
HOLD_ADVANCES = """
SELECT pg_advisory_xact_lock(hashtext('shiplog advance'), shard) FROM (SELECT shard FROM heads ORDER BY shard) AS h
"""
TOGETHER = """
SELECT bool_and(together)
  FROM (SELECT h.shard, count(c.position) = 2 AND min(c.position) = max(c.position) AS together
          FROM heads AS h LEFT JOIN checkpoints AS c ON c.shard = h.shard AND c.projection IN ($1, $2)
         GROUP BY h.shard) AS each_shard
"""
OLD_READERS = "SELECT oldest_transaction() < joined_at FROM replays WHERE id = $1"
CUT_OVER = """
UPDATE replays SET state = 'cut-over', reason = coalesce($2::text, reason), ended_at = clock_timestamp()
 WHERE id = $1 AND (state = 'equal' OR state = 'different' AND $2::text IS NOT NULL)
RETURNING drift
"""
LAST_CUT_OVER = """
SELECT id FROM replays WHERE projection = $1 AND state IN ('cut-over', 'rolled-back') ORDER BY ended_at DESC LIMIT 1
"""
ROLLED_BACK = "UPDATE replays SET state = 'rolled-back' WHERE id = $1 AND state = 'cut-over' RETURNING id"
DROP_CHECKPOINTS = "DELETE FROM checkpoints WHERE projection = $1"
RENAME_CHECKPOINTS = "UPDATE checkpoints SET projection = $2 WHERE projection = $1"
IMPATIENT = "SET LOCAL lock_timeout = '250ms'"


class Accepted(Struct, frozen=True):
    """Somebody's word that the rebuilt version is right where it differs."""

    reason: str
    author: Author


async def cut_over(pool: Pool[Record], live: Projection, id: UUID, accepted: Accepted | None = None) -> None:
    """Put the version beside in the live one's place. Raises NotNow unless both agree, or somebody accepts that not.

    Waits for readers whose snapshot is from before the two joined: those would see them at two positions.
    """
    while await pool.fetchval(OLD_READERS, id):
        await asyncio.sleep(0.02)
    await patiently(pool, partial(_cut_over, live=live, id=id, accepted=accepted))


async def _cut_over(
    conn: PoolConnectionProxy[Record], live: Projection, id: UUID, accepted: Accepted | None
) -> None:
    await _hold_together(conn, live, live.shadow)
    drift = await conn.fetchval(CUT_OVER, id, accepted.reason if accepted else None)
    if drift is None:
        raise NotNow(state="not compared, or different without a reason given", wanted="cut over")
    if drift and accepted:
        event = ReplayAccepted(id, live.name, drift, accepted.reason)
        await decide_editorial(conn, lambda _: [event], accepted.author)
    await conn.execute(DROP_CHECKPOINTS, live.previous.name)
    await conn.execute(RENAME_CHECKPOINTS, live.shadow.name, live.previous.name)
    await delete_parked(conn, live.previous.name)
    await rename_parked(conn, (live.name, live.previous.name), (live.shadow.name, live.name))
    await conn.execute(IMPATIENT)
    await conn.execute(live.cut_over)


async def roll_back(pool: Pool[Record], live: Projection, id: UUID | None = None) -> None:
    """Undo the last cut-over (``id``, if it has to be that one): the version before it has moved on beside the live one.

    Raises NotNow when there is nothing to go back to.
    """
    newest = await pool.fetchval(LAST_CUT_OVER, live.name)
    if newest is None or id not in (None, newest):
        raise NotNow(state="not the last that cut over", wanted="rolled back")
    await patiently(pool, partial(_roll_back, live=live, id=newest))


async def _roll_back(conn: PoolConnectionProxy[Record], live: Projection, id: UUID) -> None:
    await _hold_together(conn, live, live.previous)
    if await conn.fetchval(ROLLED_BACK, id) is None:
        raise NotNow(state="rolled back", wanted="rolled back again")
    shadow, previous = live.shadow.name, live.previous.name
    await rename_parked(conn, (live.name, shadow), (previous, live.name), (shadow, previous))
    await conn.execute(IMPATIENT)
    await conn.execute(live.roll_back)


async def _hold_together(conn: PoolConnectionProxy[Record], live: Projection, other: Projection) -> None:
    """Both stay where they are until the transaction ends."""
    await conn.execute(HOLD_ADVANCES)
    if not await conn.fetchval(TOGETHER, live.name, other.name):
        raise NotNow(state="without a second version at the live one's position", wanted="swapped")


async def patiently(
    pool: Pool[Record], action: Callable[[PoolConnectionProxy[Record]], Awaitable[None]]
) -> None:
    """In one transaction, again and again until it gets its locks: readers are never kept waiting behind it for long."""
    while True:
        try:
            async with pool.acquire() as conn, conn.transaction():
                return await action(conn)
        except (LockNotAvailableError, DeadlockDetectedError):
            await asyncio.sleep(0.05)
