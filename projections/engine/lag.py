"""Lag: how many events, and how many seconds, each read model is behind the log."""

from __future__ import annotations

from asyncpg import Pool, Record
from msgspec import Struct

# Without the versions beside a read model, ``tally__next`` and ``tally__last``: nobody reads them.
READ_LAG = """
SELECT c.projection, sum(h.position - c.position)::bigint AS events,
       coalesce(max(extract(epoch FROM clock_timestamp() - unseen.recorded_at)), 0)::float8 AS seconds,
       sum(c.position)::bigint AS folded
  FROM (SELECT projection, shard, position FROM checkpoints WHERE strpos(projection, '__') = 0
         UNION ALL SELECT 'flips', shard, position FROM flips_frontier) AS c
  JOIN heads AS h ON h.shard = c.shard
  LEFT JOIN LATERAL (
       SELECT e.recorded_at FROM events AS e
        WHERE c.position < h.position AND e.shard = c.shard AND e.position = c.position + 1) AS unseen ON true
 GROUP BY c.projection ORDER BY c.projection
"""


class Lag(Struct, frozen=True):
    """``seconds`` is the age of the oldest event the read model has not folded; ``folded`` counts those it has."""

    projection: str
    events: int
    seconds: float
    folded: int


async def read_lag(pool: Pool[Record]) -> list[Lag]:
    return [Lag(*row) for row in await pool.fetch(READ_LAG)]
