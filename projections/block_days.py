"""Block days: what each block of positions added to a tool's daily votes, as block_tally.py has it for the tally."""

from __future__ import annotations

from projections.engine.projection import Projection

BLOCK_DAYS = Projection(
    name="block_days",
    shape="sum",
    keys=("tool", "block", "day"),
    columns={
        "tool": "integer",
        "block": "integer",
        "day": "integer",
        "ship": "bigint NOT NULL",
        "skip": "bigint NOT NULL",
        "casts": "bigint NOT NULL",
    },
    select="""
        SELECT shard, tool, block, CAST(CASE side WHEN 1 THEN cast_on ELSE replaced_on END AS integer) AS day,
               CAST(sum(CASE side WHEN 1 THEN ship ELSE -not_ship END) AS bigint) AS ship,
               CAST(sum(CASE side WHEN 1 THEN skip ELSE -not_skip END) AS bigint) AS skip,
               CAST(sum(CASE side WHEN 1 THEN casts ELSE 0 END) AS bigint) AS casts
          FROM (SELECT shard, tool, CAST((position - 1) >> 14 AS integer) AS block,
                       CAST(recorded_at AS date) - DATE '1970-01-01' AS cast_on,
                       CAST(replaced_at AS date) - DATE '1970-01-01' AS replaced_on,
                       count(*) FILTER (WHERE choice = 'ship') AS ship, count(*) FILTER (WHERE choice = 'skip') AS skip,
                       count(*) FILTER (WHERE replaced = 'ship') AS not_ship,
                       count(*) FILTER (WHERE replaced = 'skip') AS not_skip,
                       count(*) AS casts
                  FROM events
                 WHERE type IN ('VoteCast', 'VoteRetracted')
                 GROUP BY shard, tool, (position - 1) >> 14, CAST(recorded_at AS date), CAST(replaced_at AS date)) AS pairs
         CROSS JOIN (VALUES (1), (2)) AS sides (side)
         WHERE side = 1 OR replaced_on IS NOT NULL
         GROUP BY shard, tool, block, CASE side WHEN 1 THEN cast_on ELSE replaced_on END
    """,
)
