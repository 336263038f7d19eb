"""Verify: recount a read model from the log and name the rows on which the two differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.shared.log import Position, Shard
from projections.engine.parked import parked_positions
from projections.engine.projection import Projection
from projections.replays.digests import Digest, digest_of, one_moment, shown

# What the append keeps has no checkpoint: it is always at the head.
CHECKPOINTS = """
SELECT h.shard, coalesce(c.position, h.position)
  FROM heads AS h LEFT JOIN checkpoints AS c ON c.shard = h.shard AND c.projection = $1
 ORDER BY h.shard
"""
SHARDS = "SELECT shard FROM heads ORDER BY shard"
# Drift that is not known yet, or not any more, is null: a recount that could not run has found nothing.
ATTEMPT = """
INSERT INTO verifications (shard, projection, position, digest, verified_at)
VALUES ($1, $2, 0, '', clock_timestamp())
ON CONFLICT (shard, projection) DO UPDATE SET verified_at = excluded.verified_at, drift = NULL, rows = '{}'
"""
RECORD = """
INSERT INTO verifications (shard, projection, position, digest, drift, rows, verified_at)
VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp())
ON CONFLICT (shard, projection) DO UPDATE
   SET position = excluded.position, digest = excluded.digest, drift = excluded.drift, rows = excluded.rows,
       verified_at = excluded.verified_at
"""
READ = "SELECT shard, projection, position, digest, drift, rows, verified_at FROM verifications ORDER BY projection, shard"


class Verified(Struct, frozen=True):
    """``drift`` counts the rows that differ; ``rows`` shows the first hundred, and which side says so.

    ``digest`` is of what the read model holds; None where no table was looked at, but sealed history.
    """

    projection: str
    position: str
    digest: str | None
    drift: int
    rows: list[str]


class Verification(Struct, frozen=True):
    """The last recount of one read model in one shard. ``drift`` is None where it could not be finished."""

    shard: Shard
    projection: str
    position: int
    digest: str
    drift: int | None
    rows: list[str]
    verified_at: datetime


async def verify_all(pool: Pool[Record], projections: Sequence[Projection]) -> list[Verified]:
    return [await verify(pool, projection) for projection in projections]


async def verify(pool: Pool[Record], projection: Projection) -> Verified:
    """Compares at the model's own checkpoints, in one snapshot, so it may run beside live work."""
    digest, differing = Digest(), list[Record]()
    async with one_moment(pool) as conn:
        positions = [
            Position(Shard(row[0]), row[1]) for row in await conn.fetch(CHECKPOINTS, projection.name)
        ]
        for at in positions:
            kept, rows = await _recount(conn, projection, at)
            digest, differing = digest + kept, differing + rows
    told = ",".join(map(str, positions))
    return Verified(projection.name, told, str(digest), len(differing), shown(differing))


async def verify_slice(pool: Pool[Record], projections: Sequence[Projection]) -> Verification:
    """Recount the read model and shard that have waited longest, and keep what was found."""
    shard, projection = await _next_slice(pool, projections)
    await pool.execute(ATTEMPT, shard, projection.name)
    async with one_moment(pool) as conn:
        at = next(
            Position(shard, row[1])
            for row in await conn.fetch(CHECKPOINTS, projection.name)
            if row[0] == shard
        )
        digest, differing = await _recount(conn, projection, at)
    found = (shard, projection.name, at.number, str(digest), len(differing), shown(differing))
    await pool.execute(RECORD, *found)
    return next(
        each
        for each in await read_verifications(pool)
        if (each.shard, each.projection) == (shard, projection.name)
    )


async def read_verifications(pool: Pool[Record]) -> list[Verification]:
    return [Verification(*row) for row in await pool.fetch(READ)]


async def read_drift(pool: Pool[Record]) -> Counter[str]:
    """Rows that differed at the last recounts, by read model; those of unknown drift are left out."""
    drift: Counter[str] = Counter()
    for each in await read_verifications(pool):
        if each.drift is not None:
            drift[each.projection] += each.drift
    return drift


async def _recount(
    conn: PoolConnectionProxy[Record], projection: Projection, at: Position
) -> tuple[Digest, list[Record]]:
    """What the read model holds, and the rows of it that the log, without what is parked, says otherwise or not at all."""
    parked = await parked_positions(conn, at.shard, projection.name)
    differences = projection.differences_excluding_parked if parked else projection.differences
    differing = await conn.fetch(differences, at.shard, 0, at.number)
    return await digest_of(conn, projection, at.shard), differing


async def _next_slice(pool: Pool[Record], projections: Sequence[Projection]) -> tuple[Shard, Projection]:
    done = {(each.shard, each.projection): each.verified_at for each in await read_verifications(pool)}
    slices = [(Shard(row[0]), projection) for row in await pool.fetch(SHARDS) for projection in projections]
    never = datetime.min.replace(tzinfo=UTC)
    return min(slices, key=lambda each: done.get((each[0], each[1].name), never))
