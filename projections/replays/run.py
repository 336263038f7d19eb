"""Replay: a read model is rebuilt from the log while the live one keeps serving, compared with it, and cut over.

The new version is a read model under its own name (``Projection.shadow``). Ranges of the log are folded into it in
parallel. When few events are left it *joins* the live version: both get a checkpoint at the same position, and from then
on each advance moves both in one transaction. So a snapshot shows both at one position, and the cut-over, which renames
tables, cannot split an answer.
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
from eventstore.heads import read_heads
from eventstore.sealed.manifest import SegmentError
from eventstore.sealed.store import Store
from projections.engine.advance import advance
from projections.engine.advance_lock import lock_advance
from projections.engine.poison import fold_past_poison
from projections.engine.projection import Projection
from projections.replays.cut_over import cut_over, retry_on_lock_timeout
from projections.replays.digests import READ_CHECKPOINT, VersionComparison, compare
from projections.replays.jobs import RUNNING, Replay, find, is_running, pause, read_replay
from projections.replays.ranges import fold_ranges, fold_rest, plan_ranges
from projections.replays.reconcile import reconcile
from projections.replays.sealed_replay import NoSegments, fold_sealed

JOIN_EVENTS_MAX = 20_000  # left to fold while the shard's advances wait
PARALLEL = 2

CREATE_CHECKPOINT = "INSERT INTO checkpoints (shard, projection, position) VALUES ($1, $2, $3)"
MARK_JOINED = "UPDATE replays SET joined_at = clock_timestamp() WHERE id = $1 AND joined_at IS NULL"
FIND_SHARDS_AT_TWO_POSITIONS = """
SELECT shard FROM checkpoints WHERE projection IN ($1, $2)
 GROUP BY shard HAVING count(DISTINCT position) > 1 ORDER BY shard
"""
STORE_COMPARISON = """
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
    """Continue a running replay until the versions are compared, and cut over if they are equal.

    Returns early if it is paused or cancelled, or if another process runs it. If the process dies, the next call
    continues. Workers may run at the same time, but are not needed. A damaged segment pauses a replay from segments:
    raises SegmentError, or NoSegments without a store.
    """
    async with exclusively(pool, "shiplog replay", str(id)) as locked:
        replay = await read_replay(pool, id)
        if locked and replay.is_active:
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
    return [Shard(shard) for shard in await read_heads(pool)]


async def _rebuild(
    pool: Pool[Record], projections: Sequence[Projection], live: Projection, id: UUID, parallel: int
) -> None:
    """Fold, join and compare. Returns early if the replay is paused or cancelled."""
    shards = await _shards(pool)
    while await plan_ranges(pool, live, id, shards) > JOIN_EVENTS_MAX:
        await fold_ranges(pool, live, id, shards, parallel)
        if not await is_running(pool, id):
            return
    for shard in shards:
        await retry_on_lock_timeout(pool, partial(_join, live=live, id=id, shard=shard))
    await pool.execute(MARK_JOINED, id)
    await _align(pool, projections, live)
    comparison = await compare(pool, live, shards)
    if comparison.drift:
        comparison = await reconcile(pool, live, shards, comparison)
    await _store(pool, id, comparison)


async def _join(conn: PoolConnectionProxy[Record], live: Projection, id: UUID, shard: Shard) -> None:
    """Fold what is left while no worker advances the shard, and create the version's checkpoint.

    The checkpoint is the live version's, or is ahead of it if a range ends further on.
    """
    await lock_advance(conn, shard)
    if await conn.fetchval(READ_CHECKPOINT, shard, live.shadow.name) is not None:
        return
    folded = await fold_rest(conn, live, id, shard)
    position = max(folded, int(await conn.fetchval(READ_CHECKPOINT, shard, live.name)))
    if folded < position:
        await fold_past_poison(conn, live.shadow, shard, folded, position)
    await conn.execute(CREATE_CHECKPOINT, shard, live.shadow.name, position)


async def _align(pool: Pool[Record], projections: Sequence[Projection], live: Projection) -> None:
    """Advance until both versions are at one position in every shard; from there on they move together."""
    while behind := await pool.fetch(FIND_SHARDS_AT_TWO_POSITIONS, live.name, live.shadow.name):
        for row in behind:
            if await advance(pool, projections, Shard(row["shard"])) is None:
                await asyncio.sleep(0.01)  # a worker advances it


async def _store(pool: Pool[Record], id: UUID, comparison: VersionComparison) -> None:
    state = "different" if comparison.drift else "equal"
    digests = (comparison.position, comparison.shadow, comparison.live)
    difference = (comparison.drift, comparison.rows, comparison.reason)
    await pool.execute(STORE_COMPARISON, id, state, *digests, *difference)
