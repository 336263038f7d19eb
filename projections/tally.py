"""Tally: the current votes for ship and skip on each tool."""

from __future__ import annotations

from collections.abc import Sequence

from projections.engine.blocks import per_block
from projections.engine.projection import Projection
from projections.engine.snapshot import Snapshot

TALLY = Projection(
    name="tally",
    shape="sum",
    keys=("tool",),
    columns={
        "tool": "integer",
        "ship": "bigint NOT NULL",
        "skip": "bigint NOT NULL",
    },
    select="""
        SELECT shard, tool,
               count(*) FILTER (WHERE choice = 'ship') - count(*) FILTER (WHERE replaced = 'ship') AS ship,
               count(*) FILTER (WHERE choice = 'skip') - count(*) FILTER (WHERE replaced = 'skip') AS skip
          FROM events
         WHERE type IN ('VoteCast', 'VoteRetracted')
         GROUP BY shard, tool
    """,
)
# Differences between two positions also count the casts, for which the tally itself has no column.
BLOCK_TALLY = per_block(TALLY, "block_tally", casts=("bigint NOT NULL", "count(*)"))

READ_TALLIES = """
SELECT tool, sum(ship)::bigint, sum(skip)::bigint
  FROM tally WHERE tool = ANY($1) GROUP BY tool
"""


async def read_tallies(snapshot: Snapshot, tools: Sequence[int]) -> dict[int, tuple[int, int]]:
    """(ship, skip) of each tool that ever had a vote."""
    rows = await snapshot.fetch(TALLY, READ_TALLIES, list(tools))
    return {tool: (ship, skip) for tool, ship, skip in rows}
