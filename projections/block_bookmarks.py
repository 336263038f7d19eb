"""Block bookmarks: what each block of positions added to a tool's bookmark count, as block_tally.py has it for votes."""

from __future__ import annotations

from projections.engine.projection import Projection

BLOCK_BOOKMARKS = Projection(
    name="block_bookmarks",
    shape="sum",
    keys=("tool", "block"),
    columns={"tool": "integer", "block": "integer", "saved": "bigint NOT NULL"},
    select="""
        SELECT shard, tool, CAST((position - 1) >> 14 AS integer) AS block,
               count(*) FILTER (WHERE type = 'BookmarkSaved') - count(*) FILTER (WHERE type = 'BookmarkDropped') AS saved
          FROM events
         WHERE type IN ('BookmarkSaved', 'BookmarkDropped')
         GROUP BY shard, tool, (position - 1) >> 14
    """,
)
