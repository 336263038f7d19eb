"""Parked events: what a read model could not fold and went past. By version, so that a rebuilt one has its own."""

from __future__ import annotations

from typing import TypeAlias

from asyncpg import Connection, Pool, PostgresError, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.shared.log import Position, Shard

PARK = """
INSERT INTO parked_events (shard, projection, position, error) VALUES ($1, $2, $3, $4)
ON CONFLICT (shard, projection, position) DO UPDATE SET error = excluded.error, parked_at = excluded.parked_at
"""
OF_SHARD = "SELECT position FROM parked_events WHERE shard = $1 AND projection = $2 ORDER BY position"
FORGET = "DELETE FROM parked_events WHERE projection = $1"
RENAME = "UPDATE parked_events SET projection = $2 WHERE projection = $1"
COUNT = "SELECT projection, count(*) FROM parked_events GROUP BY projection ORDER BY projection"
READ = """
SELECT shard, projection, position, error FROM parked_events ORDER BY projection, shard, position LIMIT 100
"""

Writing: TypeAlias = "Connection[Record] | PoolConnectionProxy[Record]"


class Parked(Struct, frozen=True):
    """``error`` is what Postgres said of it."""

    position: Position
    projection: str
    error: str

    def __str__(self) -> str:
        return f"{self.projection} could not fold {self.position} and parked it: {self.error}"


async def park(
    conn: PoolConnectionProxy[Record], projection: str, position: Position, error: PostgresError
) -> Parked:
    parked = Parked(position, projection, f"{error.sqlstate} {error}"[:500])
    await conn.execute(PARK, position.shard, projection, position.number, parked.error)
    return parked


async def parked_of(conn: PoolConnectionProxy[Record], shard: Shard, projection: str) -> list[int]:
    return [row[0] for row in await conn.fetch(OF_SHARD, shard, projection)]


async def forget(conn: Writing, projection: str) -> None:
    """Where its table is dropped, or emptied."""
    await conn.execute(FORGET, projection)


async def rename(conn: Writing, *steps: tuple[str, str]) -> None:
    """Where its table gets another name."""
    for before, after in steps:
        await conn.execute(RENAME, before, after)


async def count_parked(pool: Pool[Record]) -> dict[str, int]:
    """By how many events each read model is incomplete; those that are not are left out."""
    return {row[0]: row[1] for row in await pool.fetch(COUNT)}


async def read_parked(pool: Pool[Record]) -> list[Parked]:
    """The first hundred."""
    return [Parked(Position(Shard(row[0]), row[2]), row[1], row[3]) for row in await pool.fetch(READ)]
