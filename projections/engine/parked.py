"""Parked events, the dead letters of a read model: events that it could not fold and skipped. Each version has its own."""

from __future__ import annotations

from typing import TypeAlias

from asyncpg import Connection, Pool, PostgresError, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.shared.log import Position, Shard

PARK_EVENT = """
INSERT INTO parked_events (shard, projection, position, error) VALUES ($1, $2, $3, $4)
ON CONFLICT (shard, projection, position) DO UPDATE SET error = excluded.error, parked_at = excluded.parked_at
"""
READ_PARKED_POSITIONS = (
    "SELECT position FROM parked_events WHERE shard = $1 AND projection = $2 ORDER BY position"
)
DELETE_PARKED = "DELETE FROM parked_events WHERE projection = $1"
RENAME_PARKED = "UPDATE parked_events SET projection = $2 WHERE projection = $1"
COUNT_PARKED = "SELECT projection, count(*) FROM parked_events GROUP BY projection ORDER BY projection"
READ_PARKED = """
SELECT shard, projection, position, error FROM parked_events ORDER BY projection, shard, position LIMIT 100
"""

AnyConnection: TypeAlias = "Connection[Record] | PoolConnectionProxy[Record]"


class ParkedEvent(Struct, frozen=True):
    """``error`` is the SQLSTATE and message of Postgres, at most 500 characters."""

    position: Position
    projection: str
    error: str

    def __str__(self) -> str:
        return f"{self.projection} could not fold {self.position} and parked it: {self.error}"


async def park(
    conn: PoolConnectionProxy[Record], projection: str, position: Position, error: PostgresError
) -> ParkedEvent:
    parked = ParkedEvent(position, projection, f"{error.sqlstate} {error}"[:500])
    await conn.execute(PARK_EVENT, position.shard, projection, position.number, parked.error)
    return parked


async def parked_positions(conn: PoolConnectionProxy[Record], shard: Shard, projection: str) -> list[int]:
    return [row[0] for row in await conn.fetch(READ_PARKED_POSITIONS, shard, projection)]


async def delete_parked(conn: AnyConnection, projection: str) -> None:
    """For a table that is dropped or emptied."""
    await conn.execute(DELETE_PARKED, projection)


async def rename_parked(conn: AnyConnection, *steps: tuple[str, str]) -> None:
    """(before, after) of each table that is renamed, in order."""
    for before, after in steps:
        await conn.execute(RENAME_PARKED, before, after)


async def count_parked(pool: Pool[Record]) -> dict[str, int]:
    """The number of parked events by read model; a read model without any is left out."""
    return {row[0]: row[1] for row in await pool.fetch(COUNT_PARKED)}


async def read_parked(pool: Pool[Record]) -> list[ParkedEvent]:
    """The first hundred."""
    return [
        ParkedEvent(Position(Shard(row[0]), row[2]), row[1], row[3]) for row in await pool.fetch(READ_PARKED)
    ]
