"""Hourly tally: what each hour (UTC) added to a tool's tally. The running sum is the tally at the end of any hour."""

from __future__ import annotations

from projections.engine.projection import Projection

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
