"""Digests: what a read model holds, as one number that does not depend on order, batches or who folded it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.shared.log import Position, Shard
from projections.engine.projection import Projection

CHECKPOINT = "SELECT position FROM checkpoints WHERE shard = $1 AND projection = $2"
ROWS_SHOWN_MAX = 100


class Digest(Struct, frozen=True):
    """``total`` is the sum of the rows' hashes; written, it is that modulo 2^64, in 16 hexadecimal digits."""

    rows: int = 0
    total: int = 0

    def __add__(self, other: Digest) -> Digest:
        return Digest(self.rows + other.rows, self.total + other.total)

    def __str__(self) -> str:
        return f"{self.total % 2**64:016x}"


class VersionComparison(Struct, frozen=True):
    """The live version and the one beside it at ``position``. ``drift`` counts the rows that differ; the first hundred are shown."""

    position: str
    live: str
    shadow: str
    drift: int
    rows: list[str]
    reason: str | None = None


@asynccontextmanager
async def one_moment(pool: Pool[Record]) -> AsyncIterator[PoolConnectionProxy[Record]]:
    """A connection on which all reads see the same commits."""
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        yield conn


async def digest_of(conn: PoolConnectionProxy[Record], projection: Projection, shard: Shard) -> Digest:
    row = await conn.fetchrow(projection.digest_rows, shard)
    assert row is not None
    return Digest(row["rows"], int(row["digest"]))


async def compare(pool: Pool[Record], projection: Projection, shards: Sequence[Shard]) -> VersionComparison:
    """Both versions at one moment. Rows are looked for only where the digests differ."""
    live, shadow, positions, differing = Digest(), Digest(), [], list[Record]()
    async with one_moment(pool) as conn:
        for shard in shards:
            positions.append(Position(shard, await conn.fetchval(CHECKPOINT, shard, projection.name)))
            one = await digest_of(conn, projection, shard)
            other = await digest_of(conn, projection.shadow, shard)
            if one != other:
                differing += await conn.fetch(projection.shadow_differences, shard)
            live, shadow = live + one, shadow + other
    return VersionComparison(
        ",".join(map(str, positions)), str(live), str(shadow), len(differing), shown(differing)
    )


def shown(differing: Sequence[Record]) -> list[str]:
    """The first hundred, each with who says so: the log, recounted, or the read model."""
    return [", ".join(f"{name} {value}" for name, value in row.items()) for row in differing[:ROWS_SHOWN_MAX]]
