"""Heads: how many shards the log has, and how far each has come."""

from __future__ import annotations

from asyncpg import Connection, Pool, Record

COUNT_SHARDS = "SELECT count(*) - 1 FROM heads"
CREATE_HEADS = "INSERT INTO heads (shard) SELECT generate_series(0, $1::int) ON CONFLICT DO NOTHING"
READ_HEADS = "SELECT shard, position FROM heads ORDER BY shard"
EXTEND_EVENTS = "SELECT extend_events(max(position) + $1) FROM heads"

# One partition ahead of every head, always: see extend_events.
AHEAD = 4_194_304


async def create_heads(conn: Connection[Record], shards: int) -> int:
    """Give an empty log its house and ``shards`` shards of people; a log keeps the number it was born with."""
    if not await conn.fetchval("SELECT EXISTS (SELECT FROM heads)"):
        await conn.execute(CREATE_HEADS, shards)
    return await count_shards(conn)


async def count_shards(conn: Connection[Record] | Pool[Record]) -> int:
    """The shards of people; the house comes on top."""
    return int(await conn.fetchval(COUNT_SHARDS))


async def read_heads(conn: Connection[Record] | Pool[Record]) -> dict[int, int]:
    return {row["shard"]: row["position"] for row in await conn.fetch(READ_HEADS)}


async def extend_events(conn: Connection[Record] | Pool[Record]) -> None:
    """Keep partitions of events ahead of the heads."""
    await conn.execute(EXTEND_EVENTS, AHEAD)
