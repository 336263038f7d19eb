"""Set right: a rebuilt version differs from a live one that is incomplete; is what the live one parked the whole difference?

If so, it needs nobody's word to take the live one's place.
"""

from __future__ import annotations

from collections.abc import Sequence

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec.structs import replace

from domain.shared.log import Shard
from projections.engine.parked import parked_positions
from projections.engine.poison import POISON_ERRORS
from projections.engine.projection import Projection
from projections.replays.digests import VersionComparison, digest_of

HOLD_ADVANCE = "SELECT pg_advisory_xact_lock(hashtext('shiplog advance'), $1)"


async def reconcile(
    pool: Pool[Record], live: Projection, shards: Sequence[Shard], compared: VersionComparison
) -> VersionComparison:
    """The comparison, without the rows that differ if the rebuilt version is the live one and what it had parked."""
    mended = 0
    for shard in shards:
        found = await _mended(pool, live, shard)
        if found is None:
            return compared
        mended += found
    reason = f"the live version was incomplete by {mended:,}; with these events put in it is the same"
    return replace(compared, drift=0, rows=[], reason=reason)


async def _mended(pool: Pool[Record], live: Projection, shard: Shard) -> int | None:
    """How many parked events make one version of the other; None if they do not. Nothing is kept."""
    async with pool.acquire() as conn:
        trial = conn.transaction()
        await trial.start()
        try:
            return await _try(conn, live, shard)
        except POISON_ERRORS:
            return None
        finally:
            await trial.rollback()


async def _try(conn: PoolConnectionProxy[Record], live: Projection, shard: Shard) -> int | None:
    await conn.execute(HOLD_ADVANCE, shard)
    before = set(await parked_positions(conn, shard, live.name))
    after = set(await parked_positions(conn, shard, live.shadow.name))
    if after - before:
        return None
    await conn.execute(live.fold_positions, shard, sorted(before - after))
    same = await digest_of(conn, live, shard) == await digest_of(conn, live.shadow, shard)
    return len(before - after) if same else None
