"""Replay ranges: the log is folded into the rebuilt version range by range, several at a time, in short transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy

from domain.shared.log import Shard
from projections.engine.advance_lock import lock_advance
from projections.engine.blocked import blocked_position
from projections.engine.poison import fold_past_poison
from projections.engine.projection import Projection
from projections.replays.jobs import is_running

RANGE_EVENTS = 500_000
POSITION_MAX = 2**63 - 1

# Up to the head, or to the event that blocks the read model ($5). None once the version has joined the live one: from then
# on advances fold the events.
PLAN_RANGES = """
INSERT INTO replay_ranges (shard, replay, after, upto)
SELECT h.shard, $2, start, least(start + $3, h.position)
  FROM (SELECT shard, least(position, $5 - 1) AS position FROM heads) AS h,
       LATERAL (SELECT coalesce(max(r.upto), 0) AS covered FROM replay_ranges AS r
                 WHERE r.shard = h.shard AND r.replay = $2) AS r,
       LATERAL generate_series(r.covered, h.position - 1, $3::bigint) AS start
 WHERE h.shard = $1
   AND NOT EXISTS (SELECT FROM checkpoints AS c WHERE c.shard = h.shard AND c.projection = $4)
"""
COUNT_EVENTS_LEFT = """
SELECT coalesce(sum(upto - after), 0)::bigint FROM replay_ranges
 WHERE shard = $1 AND replay = $2 AND folded_at IS NULL
"""
CLAIM_RANGE = """
SELECT after, upto FROM replay_ranges
 WHERE shard = $1 AND replay = $2 AND folded_at IS NULL
 ORDER BY after LIMIT 1 FOR UPDATE SKIP LOCKED
"""
CLAIM_ALL_RANGES = """
SELECT after, upto FROM replay_ranges
 WHERE shard = $1 AND replay = $2 AND folded_at IS NULL
 ORDER BY after FOR UPDATE
"""
MARK_FOLDED = """
UPDATE replay_ranges SET folded_at = clock_timestamp() WHERE shard = $1 AND replay = $2 AND after = $3
"""
READ_END_OF_RANGES = "SELECT coalesce(max(upto), 0) FROM replay_ranges WHERE shard = $1 AND replay = $2"


async def plan_ranges(pool: Pool[Record], live: Projection, id: UUID, shards: Sequence[Shard]) -> int:
    """Create ranges up to the current heads. Returns the number of events that are not folded yet."""
    left = 0
    for shard in shards:
        async with pool.acquire() as conn, conn.transaction():
            await lock_advance(conn, shard)
            blocked_at = await blocked_position(conn, live, shard, POSITION_MAX)
            await conn.execute(PLAN_RANGES, shard, id, RANGE_EVENTS, live.shadow.name, blocked_at)
            left += await conn.fetchval(COUNT_EVENTS_LEFT, shard, id)
    return left


async def fold_ranges(
    pool: Pool[Record], live: Projection, id: UUID, shards: Sequence[Shard], parallel: int
) -> None:
    """Fold the ranges in ``parallel`` tasks, each of which begins with another shard."""
    orders = [[*shards[n:], *shards[:n]] for n in range(1, parallel + 1)]
    await asyncio.gather(*(_fold_in_order(pool, live, id, order) for order in orders))


async def _fold_in_order(pool: Pool[Record], live: Projection, id: UUID, shards: Sequence[Shard]) -> None:
    for shard in shards:
        while await is_running(pool, id) and await _fold_one(pool, live, id, shard):
            pass


async def _fold_one(pool: Pool[Record], live: Projection, id: UUID, shard: Shard) -> bool:
    """False if every range of the shard is folded or claimed."""
    async with pool.acquire() as conn, conn.transaction():
        claimed = await conn.fetchrow(CLAIM_RANGE, shard, id)
        if claimed is None:
            return False
        await _fold(conn, live, id, shard, claimed)
        return True


async def fold_rest(conn: PoolConnectionProxy[Record], live: Projection, id: UUID, shard: Shard) -> int:
    """Fold all ranges of a shard that are left. Returns the position where the last range ends."""
    for claimed in await conn.fetch(CLAIM_ALL_RANGES, shard, id):
        await _fold(conn, live, id, shard, claimed)
    return int(await conn.fetchval(READ_END_OF_RANGES, shard, id))


async def _fold(
    conn: PoolConnectionProxy[Record], live: Projection, id: UUID, shard: Shard, claimed: Record
) -> None:
    await fold_past_poison(conn, live.shadow, shard, claimed["after"], claimed["upto"])
    await conn.execute(MARK_FOLDED, shard, id, claimed["after"])
