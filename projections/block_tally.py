"""Block tally: what each block of positions added to a tool's tally; the sum of the first blocks is a past tally."""

from __future__ import annotations

from projections.engine.projection import Projection

# Positions to a block: 1..16,384 are block 0. A past tally reads a block's row for each block before its position,
# and the events of no more than one. In the SELECT below it is a shift, which both
# engines read alike: `/` is no whole number to DuckDB.
BLOCK = 16_384

BLOCK_TALLY = Projection(
    name="block_tally",
    shape="sum",
    keys=("tool", "block"),
    columns={
        "tool": "integer",
        "block": "integer",
        "ship": "bigint NOT NULL",
        "skip": "bigint NOT NULL",
        "casts": "bigint NOT NULL",
    },
    select="""
        SELECT shard, tool, CAST((position - 1) >> 14 AS integer) AS block,
               count(*) FILTER (WHERE choice = 'ship') - count(*) FILTER (WHERE replaced = 'ship') AS ship,
               count(*) FILTER (WHERE choice = 'skip') - count(*) FILTER (WHERE replaced = 'skip') AS skip,
               count(*) AS casts
          FROM events
         WHERE type IN ('VoteCast', 'VoteRetracted')
         GROUP BY shard, tool, (position - 1) >> 14
    """,
)
