"""Bookmark counts: the number of shelves that each tool is on."""

from __future__ import annotations

from collections.abc import Sequence

from projections.engine.blocks import per_block
from projections.engine.projection import Projection
from projections.engine.snapshot import Snapshot

BOOKMARK_COUNTS = Projection(
    name="bookmark_counts",
    shape="sum",
    keys=("tool",),
    columns={"tool": "integer", "saved": "bigint NOT NULL"},
    select="""
        SELECT shard, tool,
               count(*) FILTER (WHERE type = 'BookmarkSaved') - count(*) FILTER (WHERE type = 'BookmarkDropped') AS saved
          FROM events
         WHERE type IN ('BookmarkSaved', 'BookmarkDropped')
         GROUP BY shard, tool
    """,
)
BLOCK_BOOKMARKS = per_block(BOOKMARK_COUNTS, "block_bookmarks")

READ_BOOKMARK_COUNTS = (
    "SELECT tool, sum(saved)::bigint FROM bookmark_counts WHERE tool = ANY($1) GROUP BY tool"
)


async def read_bookmark_counts(snapshot: Snapshot, tools: Sequence[int]) -> dict[int, int]:
    rows = await snapshot.fetch(BOOKMARK_COUNTS, READ_BOOKMARK_COUNTS, list(tools))
    return {row[0]: row[1] for row in rows}
