"""Verify: recount a read model from the log and name the rows on which the two differ."""

from __future__ import annotations

from collections.abc import Sequence

from asyncpg import Pool, Record
from msgspec import Struct

from domain.log import Position, Shard
from projections.engine import Projection

# What the append keeps has no checkpoint: it is always at the head.
CHECKPOINTS = """
SELECT h.shard, coalesce(c.position, h.position)
  FROM heads AS h LEFT JOIN checkpoints AS c ON c.shard = h.shard AND c.projection = $1
 ORDER BY h.shard
"""
MOST_ROWS = 100


class Verified(Struct, frozen=True):
    """``drift`` counts the rows that differ; ``rows`` shows the first hundred, and which side says so."""

    projection: str
    position: str
    drift: int
    rows: list[str]


async def verify_all(pool: Pool[Record], projections: Sequence[Projection]) -> list[Verified]:
    return [await verify(pool, projection) for projection in projections]


async def verify(pool: Pool[Record], projection: Projection) -> Verified:
    """Compares at the model's own checkpoints, in one snapshot, so it may run beside live work."""
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        positions = [
            Position(Shard(row[0]), row[1]) for row in await conn.fetch(CHECKPOINTS, projection.name)
        ]
        differing = [
            row
            for at in positions
            for row in await conn.fetch(projection.differences, at.shard, 0, at.number)
        ]
    shown = [", ".join(f"{name} {value}" for name, value in row.items()) for row in differing[:MOST_ROWS]]
    return Verified(projection.name, ",".join(map(str, positions)), len(differing), shown)
