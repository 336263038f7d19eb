"""Digests of read models, which do not depend on the order of rows, or on the batches in which they were folded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.shared.log import Position, Shard
from projections.engine.projection import Projection

READ_CHECKPOINT = "SELECT position FROM checkpoints WHERE shard = $1 AND projection = $2"
ROWS_SHOWN_MAX = 100


class Digest(Struct, frozen=True):
    """``total`` is the sum of the rows' hashes. As text it is ``total`` modulo 2^64, in 16 hexadecimal digits."""

    rows: int = 0
    total: int = 0

    def __add__(self, other: Digest) -> Digest:
        return Digest(self.rows + other.rows, self.total + other.total)

    def __str__(self) -> str:
        return f"{self.total % 2**64:016x}"


class VersionComparison(Struct, frozen=True):
    """The digests of the live version and the rebuilt one, ``shadow``, at ``position``.

    ``drift`` is the number of rows that differ, ``rows`` describes the first hundred.
    """

    position: str
    live: str
    shadow: str
    drift: int
    rows: list[str]
    reason: str | None = None


@asynccontextmanager
async def consistent_connection(pool: Pool[Record]) -> AsyncIterator[PoolConnectionProxy[Record]]:
    """A connection on which all reads see the same snapshot."""
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        yield conn


async def digest_of(conn: PoolConnectionProxy[Record], projection: Projection, shard: Shard) -> Digest:
    row = await conn.fetchrow(projection.digest_rows, shard)
    assert row is not None
    return Digest(row["rows"], int(row["digest"]))


async def compare(pool: Pool[Record], projection: Projection, shards: Sequence[Shard]) -> VersionComparison:
    """Compare both versions in one snapshot; row by row only in shards whose digests differ."""
    live, shadow, positions, differing = Digest(), Digest(), [], list[Record]()
    async with consistent_connection(pool) as conn:
        for shard in shards:
            positions.append(Position(shard, await conn.fetchval(READ_CHECKPOINT, shard, projection.name)))
            one = await digest_of(conn, projection, shard)
            other = await digest_of(conn, projection.shadow, shard)
            if one != other:
                differing += await conn.fetch(projection.shadow_differences, shard)
            live, shadow = live + one, shadow + other
    return VersionComparison(
        ",".join(map(str, positions)), str(live), str(shadow), len(differing), describe_rows(differing)
    )


def describe_rows(differing: Sequence[Record]) -> list[str]:
    """The first hundred rows as text, each with the side that has it: the recounted log or the read model."""
    return [", ".join(f"{name} {value}" for name, value in row.items()) for row in differing[:ROWS_SHOWN_MAX]]
