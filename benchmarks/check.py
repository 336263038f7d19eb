"""After the load: check that the log is gapless and in order, and that the tallies count every ballot."""

from __future__ import annotations

import asyncio

import asyncpg

CHECK_ORDER = """
SELECT count(*) AS events,
       bool_and(position = row_number) AS gapless,
       bool_and(recorded_at >= coalesce(before, recorded_at)) AS in_time
  FROM (SELECT position, recorded_at, row_number() OVER shard, lag(recorded_at) OVER shard AS before
          FROM events WINDOW shard AS (PARTITION BY shard ORDER BY position)) AS log
"""
COUNT_TALLIED = "SELECT coalesce(sum(ship + skip), 0)::bigint FROM read_models.tally"
COUNT_BALLOTS = "SELECT count(*) FROM standings WHERE kind = 'v' AND choice IS NOT NULL"


async def check_log(database_url: str) -> str:
    """Raises AssertionError when an event is missing, out of order or not counted."""
    conn = await asyncpg.connect(database_url)
    try:
        log = await conn.fetchrow(CHECK_ORDER)
        assert log is not None
        assert log["gapless"], "positions have gaps"
        assert log["in_time"], "recorded_at went back"
        ballots = await conn.fetchval(COUNT_BALLOTS)
        async with asyncio.timeout(60):
            while await conn.fetchval(COUNT_TALLIED) != ballots:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.1)
    finally:
        await conn.close()
    return f"checked: {log['events']:,} events are gapless and in order; all {ballots:,} ballots are tallied"
