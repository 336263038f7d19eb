"""Replay: a read model is rebuilt from the log beside the live one, compared with it, and takes its place.

The new version is a read model of its own name (``Projection.shadow``). Ranges of the log are folded into it side by
side, in short transactions. When it has come close to the live one it *joins* it: both have a checkpoint at the same
position, and from then on each advance moves both in one transaction. So whoever reads sees them at one position, and
the cut-over is a change of names that no answer can be split by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from uuid import UUID

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy

from domain.shared.log import Shard
from eventstore.advisory_lock import exclusively
from eventstore.sealed.manifest import SegmentError
from eventstore.sealed.store import Store
from projections.engine.advance import advance
from projections.engine.advance_lock import lock_advance
from projections.engine.blocked import blocked_position
from projections.engine.poison import fold_past_poison
from projections.engine.projection import Projection
from projections.replays.cut_over import cut_over, patiently
from projections.replays.digests import VersionComparison, compare
from projections.replays.jobs import RUNNING, Replay, find, is_running, pause, read_replay
from projections.replays.reconcile import reconcile
from projections.replays.sealed_replay import NoSegments, fold_sealed

RANGE_EVENTS = 500_000
LAST = 2**63 - 1
NEAR = 20_000  # events: so many may be folded while their shard's advance waits
PARALLEL = 2

SHARDS = "SELECT shard FROM heads ORDER BY shard"
CHECKPOINT = "SELECT position FROM checkpoints WHERE shard = $1 AND projection = $2"

# Up to where the head is now, or to what stops the read model ($5), unless the version has joined the live one, which no range may meet again.
COVER = """
INSERT INTO replay_ranges (shard, replay, after, upto)
SELECT h.shard, $2, start, least(start + $3, h.position)
  FROM (SELECT shard, least(position, $5 - 1) AS position FROM heads) AS h,
       LATERAL (SELECT coalesce(max(r.upto), 0) AS covered FROM replay_ranges AS r
                 WHERE r.shard = h.shard AND r.replay = $2) AS r,
       LATERAL generate_series(r.covered, h.position - 1, $3::bigint) AS start
 WHERE h.shard = $1
   AND NOT EXISTS (SELECT FROM checkpoints AS c WHERE c.shard = h.shard AND c.projection = $4)
"""
LEFT = """
SELECT coalesce(sum(upto - after), 0)::bigint FROM replay_ranges
 WHERE shard = $1 AND replay = $2 AND folded_at IS NULL
"""
CLAIM_RANGE = """
SELECT after, upto FROM replay_ranges
 WHERE shard = $1 AND replay = $2 AND folded_at IS NULL
 ORDER BY after LIMIT 1 FOR UPDATE SKIP LOCKED
"""
CLAIM_REST = """
SELECT after, upto FROM replay_ranges
 WHERE shard = $1 AND replay = $2 AND folded_at IS NULL
 ORDER BY after FOR UPDATE
"""
FOLDED = """
UPDATE replay_ranges SET folded_at = clock_timestamp() WHERE shard = $1 AND replay = $2 AND after = $3
"""
COVERED = "SELECT coalesce(max(upto), 0) FROM replay_ranges WHERE shard = $1 AND replay = $2"
JOIN = "INSERT INTO checkpoints (shard, projection, position) VALUES ($1, $2, $3)"
JOINED = "UPDATE replays SET joined_at = clock_timestamp() WHERE id = $1 AND joined_at IS NULL"
APART = """
SELECT shard FROM checkpoints WHERE projection IN ($1, $2)
 GROUP BY shard HAVING count(DISTINCT position) > 1 ORDER BY shard
"""
COMPARED = """
UPDATE replays SET state = $2, position = $3, digest = $4, replaces = $5, drift = $6, rows = $7, reason = $8
 WHERE id = $1 AND state = 'running'
"""


async def run(
    pool: Pool[Record],
    projections: Sequence[Projection],
    id: UUID,
    store: Store | None = None,
    *,
    parallel: int = PARALLEL,
) -> Replay:
    """Take a running replay on from where it is, until it is compared, and cut over if both versions agree.

    Returns early when it is paused or cancelled, or when another process runs it. Whatever dies on the way, the next
    call goes on. It does not rely on workers, and does not mind them. One that reads sealed history is paused by a
    damaged segment: raises SegmentError, or NoSegments without a store.
    """
    async with exclusively(pool, "shiplog replay", str(id)) as mine:
        replay = await read_replay(pool, id)
        if mine and replay.goes_on:
            live = find(projections, replay.projection)
            await _read_sealed(pool, live, replay, store, parallel)
            await _run(pool, projections, live, replay, parallel)
    return await read_replay(pool, id)


async def _run(
    pool: Pool[Record], projections: Sequence[Projection], live: Projection, replay: Replay, parallel: int
) -> None:
    if replay.state == RUNNING:
        await _rebuild(pool, projections, live, replay.id, parallel)
    if (await read_replay(pool, replay.id)).state == "equal" and not replay.hold:
        await cut_over(pool, live, replay.id)


async def _read_sealed(
    pool: Pool[Record], live: Projection, replay: Replay, store: Store | None, threads: int
) -> None:
    if replay.source == "segments" and replay.state == RUNNING:
        try:
            await fold_sealed(pool, store, live, replay.id, await _shards(pool), threads)
        except (SegmentError, NoSegments):
            await pause(pool, replay.id)
            raise


async def _shards(pool: Pool[Record]) -> list[Shard]:
    return [Shard(row[0]) for row in await pool.fetch(SHARDS)]


async def _rebuild(
    pool: Pool[Record], projections: Sequence[Projection], live: Projection, id: UUID, parallel: int
) -> None:
    """Fold, join, compare; or stop early, where somebody pauses it or gives it up."""
    shards = await _shards(pool)
    while await _cover(pool, live, id, shards) > NEAR:
        await _fold_ranges(pool, live, id, shards, parallel)
        if not await is_running(pool, id):
            return
    for shard in shards:
        await patiently(pool, partial(_join, live=live, id=id, shard=shard))
    await pool.execute(JOINED, id)
    await _meet(pool, projections, live)
    compared = await compare(pool, live, shards)
    await _tell(pool, id, await reconcile(pool, live, shards, compared) if compared.drift else compared)


async def _cover(pool: Pool[Record], live: Projection, id: UUID, shards: Sequence[Shard]) -> int:
    """Make ranges up to where the heads are now; how many events are left to fold."""
    left = 0
    for shard in shards:
        async with pool.acquire() as conn, conn.transaction():
            await lock_advance(conn, shard)
            stop = await blocked_position(conn, live, shard, LAST)
            await conn.execute(COVER, shard, id, RANGE_EVENTS, live.shadow.name, stop)
            left += await conn.fetchval(LEFT, shard, id)
    return left


async def _fold_ranges(
    pool: Pool[Record], live: Projection, id: UUID, shards: Sequence[Shard], parallel: int
) -> None:
    """Each of those who fold begins with another shard."""
    orders = [[*shards[n:], *shards[:n]] for n in range(1, parallel + 1)]
    await asyncio.gather(*(_fold_in_order(pool, live, id, order) for order in orders))


async def _fold_in_order(pool: Pool[Record], live: Projection, id: UUID, shards: Sequence[Shard]) -> None:
    for shard in shards:
        while await is_running(pool, id) and await _fold_one(pool, live, id, shard):
            pass


async def _fold_one(pool: Pool[Record], live: Projection, id: UUID, shard: Shard) -> bool:
    """False when the shard has no range left that nobody has in hand."""
    async with pool.acquire() as conn, conn.transaction():
        claimed = await conn.fetchrow(CLAIM_RANGE, shard, id)
        if claimed is None:
            return False
        await _fold(conn, live, id, shard, claimed)
        return True


async def _fold(
    conn: PoolConnectionProxy[Record], live: Projection, id: UUID, shard: Shard, claimed: Record
) -> None:
    await fold_past_poison(conn, live.shadow, shard, claimed["after"], claimed["upto"])
    await conn.execute(FOLDED, shard, id, claimed["after"])


async def _join(conn: PoolConnectionProxy[Record], live: Projection, id: UUID, shard: Shard) -> None:
    """Fold what is left while nobody advances the shard, and give the version its checkpoint.

    That is where the live version's is, or ahead of it, where a range had come further.
    """
    await lock_advance(conn, shard)
    if await conn.fetchval(CHECKPOINT, shard, live.shadow.name) is not None:
        return
    for claimed in await conn.fetch(CLAIM_REST, shard, id):
        await _fold(conn, live, id, shard, claimed)
    covered = int(await conn.fetchval(COVERED, shard, id))
    reached = max(covered, int(await conn.fetchval(CHECKPOINT, shard, live.name)))
    if covered < reached:
        await fold_past_poison(conn, live.shadow, shard, covered, reached)
    await conn.execute(JOIN, shard, live.shadow.name, reached)


async def _meet(pool: Pool[Record], projections: Sequence[Projection], live: Projection) -> None:
    """Wait for the version that is behind; once at one position, they move as one."""
    while apart := await pool.fetch(APART, live.name, live.shadow.name):
        for row in apart:
            if await advance(pool, projections, Shard(row["shard"])) is None:
                await asyncio.sleep(0.01)  # a worker has it


async def _tell(pool: Pool[Record], id: UUID, compared: VersionComparison) -> None:
    state = "different" if compared.drift else "equal"
    told = (compared.position, compared.shadow, compared.live, compared.drift, compared.rows, compared.reason)
    await pool.execute(COMPARED, id, state, *told)
