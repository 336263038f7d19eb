"""After the load: the log is in order and complete, and every read model equals its recount."""

from __future__ import annotations

import asyncio

import asyncpg

IN_ORDER = """
SELECT count(*) AS events,
       bool_and(position = row_number) AS gapless,
       bool_and(recorded_at >= coalesce(before, recorded_at)) AS in_time
  FROM (SELECT position, recorded_at, row_number() OVER shard, lag(recorded_at) OVER shard AS before
          FROM events WINDOW shard AS (PARTITION BY shard ORDER BY position)) AS log
"""
TALLIED = "SELECT coalesce(sum(ship + skip), 0)::bigint FROM read_models.tally"
STANDING = "SELECT count(*) FROM standings WHERE kind = 'v' AND choice IS NOT NULL"


async def check_log(database_url: str) -> str:
    """Raises AssertionError when an event is missing, out of order or not counted."""
    conn = await asyncpg.connect(database_url)
    try:
        log = await conn.fetchrow(IN_ORDER)
        assert log is not None
        assert log["gapless"], "positions have gaps"
        assert log["in_time"], "time went back"
        standing = await conn.fetchval(STANDING)
        async with asyncio.timeout(60):
            while await conn.fetchval(TALLIED) != standing:  # noqa: ASYNC110 - nothing to be told by
                await asyncio.sleep(0.1)
    finally:
        await conn.close()
    return f"checked: {log['events']:,} events, gapless and in time; {standing:,} ballots stand and are all tallied"
