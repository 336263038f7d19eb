"""Hourly tally: what each hour (UTC) added to a tool's tally. The running sum is the tally at the end of any hour."""

from __future__ import annotations

from datetime import datetime

from projections.engine.projection import Projection
from projections.engine.snapshot import Snapshot

HOURLY_TALLY = Projection(
    name="hourly_tally",
    shape="sum",
    keys=("tool", "hour"),
    columns={
        "tool": "integer",
        "hour": "timestamptz",
        "ship": "bigint NOT NULL",
        "skip": "bigint NOT NULL",
        "casts": "bigint NOT NULL",
    },
    indexes=("hour",),
    select="""
        SELECT shard, tool, date_trunc('hour', recorded_at) AS hour,
               count(*) FILTER (WHERE choice = 'ship') - count(*) FILTER (WHERE replaced = 'ship') AS ship,
               count(*) FILTER (WHERE choice = 'skip') - count(*) FILTER (WHERE replaced = 'skip') AS skip,
               count(*) AS casts
          FROM events
         WHERE type IN ('VoteCast', 'VoteRetracted')
         GROUP BY shard, tool, date_trunc('hour', recorded_at)
    """,
)

# Hours before $3 are part of the running sums of the first bucket.
READ_HISTORY = """
SELECT date_trunc($2, greatest(hour, $3)) AS bucket,
       sum(ship)::bigint AS ship, sum(skip)::bigint AS skip,
       (sum(casts) FILTER (WHERE hour >= $3))::bigint AS casts,
       sum(sum(ship)) OVER running::bigint AS ship_total, sum(sum(skip)) OVER running::bigint AS skip_total
  FROM hourly_tally
 WHERE tool = $1 AND hour < $4
 GROUP BY bucket
WINDOW running AS (ORDER BY date_trunc($2, greatest(hour, $3)))
 ORDER BY bucket
"""


async def read_history(
    snapshot: Snapshot, tool: int, bucket: str, start: datetime, end: datetime
) -> list[tuple[datetime, int, int, int]]:
    """(start of the bucket, casts in it, ship and skip at its end) of each bucket with casts, oldest first."""
    rows = await snapshot.fetch(HOURLY_TALLY, READ_HISTORY, tool, bucket, start, end)
    return [(row["bucket"], row["casts"] or 0, row["ship_total"], row["skip_total"]) for row in rows]
