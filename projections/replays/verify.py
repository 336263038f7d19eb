"""Verify: recount a read model from the log and report the rows that differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.shared.log import Position, Shard
from eventstore.heads import read_heads
from projections.engine.parked import parked_positions
from projections.engine.projection import Projection
from projections.replays.digests import Digest, consistent_connection, describe_rows, digest_of

# A read model that the append updates has no checkpoint: it is always at the head.
READ_POSITIONS = """
SELECT h.shard, coalesce(c.position, h.position)
  FROM heads AS h LEFT JOIN checkpoints AS c ON c.shard = h.shard AND c.projection = $1
 ORDER BY h.shard
"""
# Drift is null until the recount is finished.
START_RECOUNT = """
INSERT INTO verifications (shard, projection, position, digest, verified_at)
VALUES ($1, $2, 0, '', clock_timestamp())
ON CONFLICT (shard, projection) DO UPDATE SET verified_at = excluded.verified_at, drift = NULL, rows = '{}'
"""
STORE_RECOUNT = """
INSERT INTO verifications (shard, projection, position, digest, drift, rows, verified_at)
VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp())
ON CONFLICT (shard, projection) DO UPDATE
   SET position = excluded.position, digest = excluded.digest, drift = excluded.drift, rows = excluded.rows,
       verified_at = excluded.verified_at
RETURNING verified_at
"""
READ_RECOUNTS = "SELECT shard, projection, position, digest, drift, rows, verified_at FROM verifications ORDER BY projection, shard"


class ModelRecount(Struct, frozen=True):
    """``drift`` is the number of rows that differ, ``rows`` describes the first hundred, each with the side that has it.

    ``digest`` is the read model's; None for sealed history, where no table is read.
    """

    projection: str
    position: str
    digest: str | None
    drift: int
    rows: list[str]


class ShardRecount(Struct, frozen=True):
    """The last recount of one read model in one shard. ``drift`` is None if it did not finish."""

    shard: Shard
    projection: str
    position: int
    digest: str
    drift: int | None
    rows: list[str]
    verified_at: datetime


async def verify_all(pool: Pool[Record], projections: Sequence[Projection]) -> list[ModelRecount]:
    return [await verify(pool, projection) for projection in projections]


async def verify(pool: Pool[Record], projection: Projection) -> ModelRecount:
    """Compare in one snapshot, at the read model's checkpoints, so it may run while workers advance it."""
    digest, differing = Digest(), list[Record]()
    async with consistent_connection(pool) as conn:
        positions = [
            Position(Shard(row[0]), row[1]) for row in await conn.fetch(READ_POSITIONS, projection.name)
        ]
        for at in positions:
            shard_digest, rows = await _recount(conn, projection, at)
            digest, differing = digest + shard_digest, differing + rows
    position = ",".join(map(str, positions))
    return ModelRecount(projection.name, position, str(digest), len(differing), describe_rows(differing))


async def verify_next_shard(pool: Pool[Record], projections: Sequence[Projection]) -> ShardRecount:
    """Recount the read model and shard whose last recount is oldest, and store the result."""
    shard, projection = await _longest_unverified(pool, projections)
    await pool.execute(START_RECOUNT, shard, projection.name)
    async with consistent_connection(pool) as conn:
        at = next(
            Position(shard, row[1])
            for row in await conn.fetch(READ_POSITIONS, projection.name)
            if row[0] == shard
        )
        digest, differing = await _recount(conn, projection, at)
    result = (shard, projection.name, at.number, str(digest), len(differing), describe_rows(differing))
    return ShardRecount(*result, verified_at=await pool.fetchval(STORE_RECOUNT, *result))


async def read_recounts(pool: Pool[Record]) -> list[ShardRecount]:
    return [ShardRecount(*row) for row in await pool.fetch(READ_RECOUNTS)]


async def read_drift(pool: Pool[Record]) -> Counter[str]:
    """Rows that differed at the last recounts, by read model; recounts that did not finish are left out."""
    drift: Counter[str] = Counter()
    for each in await read_recounts(pool):
        if each.drift is not None:
            drift[each.projection] += each.drift
    return drift


async def _recount(
    conn: PoolConnectionProxy[Record], projection: Projection, at: Position
) -> tuple[Digest, list[Record]]:
    """The read model's digest, and the rows in which it differs from the log without the events it has parked."""
    parked = await parked_positions(conn, at.shard, projection.name)
    differences = projection.differences_excluding_parked if parked else projection.differences
    differing = await conn.fetch(differences, at.shard, 0, at.number)
    return await digest_of(conn, projection, at.shard), differing


async def _longest_unverified(
    pool: Pool[Record], projections: Sequence[Projection]
) -> tuple[Shard, Projection]:
    verified_at = {(each.shard, each.projection): each.verified_at for each in await read_recounts(pool)}
    candidates = [
        (Shard(shard), projection) for shard in await read_heads(pool) for projection in projections
    ]
    never = datetime.min.replace(tzinfo=UTC)
    return min(candidates, key=lambda each: verified_at.get((each[0], each[1].name), never))
