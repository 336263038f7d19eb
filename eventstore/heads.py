"""Heads: the shards of the log, and the last position of each."""

from __future__ import annotations

from typing import TypeAlias

from asyncpg import Connection, Pool, Record
from asyncpg.pool import PoolConnectionProxy

COUNT_SHARDS = "SELECT count(*) - 1 FROM heads"
CREATE_HEADS = "INSERT INTO heads (shard) SELECT generate_series(0, $1::int) ON CONFLICT DO NOTHING"
READ_HEADS = "SELECT shard, position FROM heads ORDER BY shard"
EXTEND_EVENTS = "SELECT extend_events(max(position) + $1) FROM heads"

AnyConnection: TypeAlias = "Connection[Record] | PoolConnectionProxy[Record] | Pool[Record]"

# At least one partition beyond every head: see the SQL function extend_events.
EVENTS_AHEAD = 4_194_304


async def create_heads(conn: Connection[Record], shards: int) -> int:
    """Create the editorial shard and ``shards`` voter shards. An existing log keeps its number; returns it."""
    if not await conn.fetchval("SELECT EXISTS (SELECT FROM heads)"):
        await conn.execute(CREATE_HEADS, shards)
    return await count_shards(conn)


async def count_shards(conn: Connection[Record] | Pool[Record]) -> int:
    """The number of voter shards, without the editorial shard."""
    return int(await conn.fetchval(COUNT_SHARDS))


async def read_heads(conn: AnyConnection) -> dict[int, int]:
    return {row["shard"]: row["position"] for row in await conn.fetch(READ_HEADS)}


async def extend_events(conn: Connection[Record] | Pool[Record]) -> None:
    """Create the partitions that the next events need."""
    await conn.execute(EXTEND_EVENTS, EVENTS_AHEAD)
