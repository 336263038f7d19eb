"""Snapshots: all reads of one answer see the same commits, and the answer has their positions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.shared.log import Position
from projections.engine.projection import Projection
from projections.engine.upcasting import with_events

READ_FRESHNESS = """
SELECT f.shard, f.position,
       CASE WHEN f.position < f.head THEN
            (SELECT extract(epoch FROM clock_timestamp() - e.recorded_at) * 1000
               FROM events AS e WHERE e.shard = f.shard AND e.position = f.position + 1)
       END::bigint AS lag_ms,
       (SELECT count(*) FROM parked_events AS p WHERE p.shard = f.shard AND p.projection = ANY($1)) AS parked
  FROM (SELECT c.shard, min(c.position) AS position, min(h.position) AS head
          FROM checkpoints AS c JOIN heads AS h USING (shard)
         WHERE c.projection = ANY($1) GROUP BY c.shard) AS f
 ORDER BY f.shard
"""
READ_NEWEST_TIME = """
SELECT max(e.recorded_at)
  FROM unnest($1::smallint[], $2::bigint[]) AS shown (shard, position)
 CROSS JOIN LATERAL (SELECT recorded_at FROM events
                      WHERE events.shard = shown.shard AND events.position = shown.position LIMIT 1) AS e
"""


class Freshness(Struct, frozen=True):
    """An answer includes the log up to ``positions``, one per shard; ``lag_ms`` is the age of the oldest event after them.

    ``incomplete`` counts the events that its read models could not fold, and parked.
    """

    positions: tuple[Position, ...]
    lag_ms: int
    incomplete: int = 0

    def __str__(self) -> str:
        return ",".join(map(str, self.positions))


class ReadModelBehind(Exception):
    """The read models have not reached the position in time. Ask again in a second."""


class ReadModelBlocked(ReadModelBehind):
    """The log contains an event written by a newer release that this answer would need. Ask for an earlier position, or again after this process is upgraded."""


class Snapshot:
    """Reads in one REPEATABLE READ transaction. It records which read models were read, for their freshness."""

    def __init__(self, conn: PoolConnectionProxy[Record]) -> None:
        self._conn = conn
        self._read: set[str] = set()

    async def fetch(self, projection: Projection, query: str, *args: object) -> list[Record]:
        self._read.add(projection.name)
        return await self._conn.fetch(with_events(query), *args)

    async def fetch_unscoped(self, query: str, *args: object) -> list[Record]:
        """Run a query that limits its range of the log itself."""
        return await self._conn.fetch(query, *args)

    def check_listed(self, slug: str, tool: int) -> None:
        """Raises NotListedYet in a snapshot as of a position before the tool was listed; never in a live one."""

    async def freshness(self) -> Freshness:
        rows = await self._conn.fetch(READ_FRESHNESS, sorted(self._read))
        positions = tuple(Position(row["shard"], row["position"]) for row in rows)
        lag_ms = max((row["lag_ms"] or 0 for row in rows), default=0)
        return Freshness(positions, lag_ms, sum(row["parked"] for row in rows))

    async def newest(self) -> datetime | None:
        """The time of the newest event that the answer includes; None for an empty log."""
        shown = (await self.freshness()).positions
        newest: datetime | None = await self._conn.fetchval(
            READ_NEWEST_TIME, [each.shard for each in shown], [each.number for each in shown]
        )
        return newest


@asynccontextmanager
async def take_snapshot(pool: Pool[Record]) -> AsyncIterator[Snapshot]:
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        yield Snapshot(conn)
