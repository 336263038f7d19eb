"""Reconcile: check whether a rebuilt version differs from the live one only by events that the live one has parked.

If so, it can be cut over without an acceptance.
"""

from __future__ import annotations

from collections.abc import Sequence

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec.structs import replace

from domain.shared.log import Shard
from domain.shared.plurals import count_of
from projections.engine.advance_lock import lock_advance
from projections.engine.parked import parked_positions
from projections.engine.poison import POISON_ERRORS
from projections.engine.projection import Projection
from projections.replays.digests import VersionComparison, digest_of


async def reconcile(
    pool: Pool[Record], live: Projection, shards: Sequence[Shard], comparison: VersionComparison
) -> VersionComparison:
    """The comparison; without drift if the live version and its parked events together are the rebuilt version."""
    parked = 0
    for shard in shards:
        found = await _count_parked(pool, live, shard)
        if found is None:
            return comparison
        parked += found
    reason = f"the live version was incomplete by {count_of(parked, 'event')}; with {'it' if parked == 1 else 'them'} folded in, both versions are equal"
    return replace(comparison, drift=0, rows=[], reason=reason)


async def _count_parked(pool: Pool[Record], live: Projection, shard: Shard) -> int | None:
    """The number of parked events that make the versions equal, or None. The transaction is rolled back."""
    async with pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        try:
            return await _fold_parked(conn, live, shard)
        except POISON_ERRORS:
            return None
        finally:
            await transaction.rollback()


async def _fold_parked(conn: PoolConnectionProxy[Record], live: Projection, shard: Shard) -> int | None:
    await lock_advance(conn, shard)
    before = set(await parked_positions(conn, shard, live.name))
    after = set(await parked_positions(conn, shard, live.shadow.name))
    if after - before:
        return None
    await conn.execute(live.fold_positions, shard, sorted(before - after))
    same = await digest_of(conn, live, shard) == await digest_of(conn, live.shadow, shard)
    return len(before - after) if same else None
