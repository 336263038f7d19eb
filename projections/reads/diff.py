"""The difference of two moments: the tools that changed, the votes on each by shard, and every editorial event."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from asyncpg import Record
from msgspec import Struct

from domain.shared.log import EDITORIAL, Position, Shard
from domain.shared.types import Choice
from eventstore.tool_directory import READ_SLUGS
from projections.engine.blocks import BLOCK_EVENTS
from projections.reads.as_of import AsOfSnapshot
from projections.tally import BLOCK_TALLY

# In the shards $1, after the positions $2 and up to $3: complete blocks from low to high, and the events outside these.
# Blocks that the block sums have not reached yet count as outside.
EVENTS_BETWEEN = f"""
WITH span AS MATERIALIZED (
    SELECT m.shard, after, upto, low, greatest(least(upto, c.position) / {BLOCK_EVENTS} * {BLOCK_EVENTS}, low) AS high
      FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS m (shard, after, upto)
      LEFT JOIN checkpoints AS c ON c.shard = m.shard AND c.projection = '{BLOCK_TALLY.name}'
     CROSS JOIN LATERAL (SELECT least((after + {BLOCK_EVENTS - 1}) / {BLOCK_EVENTS} * {BLOCK_EVENTS}, upto) AS low) AS l
), outside AS MATERIALIZED (
    SELECT shard, after, low AS upto FROM span UNION ALL SELECT shard, high, upto FROM span
), events AS (
    SELECT e.* FROM outside AS o
      JOIN public.events AS e ON e.shard = o.shard AND e.position > o.after AND e.position <= o.upto
), votes AS (
    SELECT shard, tool, ship, skip, casts FROM span JOIN read_models.block_tally USING (shard)
     WHERE block >= low / {BLOCK_EVENTS} AND block < high / {BLOCK_EVENTS}
     UNION ALL
    SELECT shard, tool, ship, skip, casts FROM ({BLOCK_TALLY.fold_select}) AS outside_blocks
)"""
READ_CHANGED_TOOLS = f"""{EVENTS_BETWEEN}
SELECT tool FROM (
    SELECT tool FROM votes WHERE tool > $4
     UNION
    SELECT e.tool FROM span AS s JOIN public.events AS e
        ON s.shard = 0 AND e.shard = 0 AND e.position > s.after AND e.position <= s.upto AND e.tool > $4) AS changed
 ORDER BY tool LIMIT $5
"""
READ_LISTED_TOOLS = "SELECT tool FROM slugs WHERE tool > $1 AND tool <= $2 ORDER BY tool LIMIT $3"
# The first vote on a tool in a shard (ASC) or the last (DESC), in the first or last block that has a vote on the tool.
FIND_VOTE = f"""
SELECT e.position FROM read_models.block_tally AS b CROSS JOIN LATERAL (
       SELECT e.position FROM public.events AS e
        WHERE e.shard = v.shard AND e.tool = v.tool AND e.type IN ('VoteCast', 'VoteRetracted')
          AND e.position > greatest(b.block * {BLOCK_EVENTS}::bigint, s.after)
          AND e.position <= least((b.block + 1) * {BLOCK_EVENTS}::bigint, s.upto)
        ORDER BY e.position {{order}} LIMIT 1) AS e
 WHERE b.shard = v.shard AND b.tool = v.tool AND b.block BETWEEN s.after / {BLOCK_EVENTS} AND s.upto / {BLOCK_EVENTS}
 ORDER BY b.block {{order}} LIMIT 1
"""
READ_VOTE_SPANS = f"""{EVENTS_BETWEEN}
SELECT v.tool, v.shard, v.casts, first.position, last.position
  FROM (SELECT tool, shard, sum(casts)::bigint AS casts FROM votes WHERE tool = ANY($4) GROUP BY tool, shard) AS v
  JOIN span AS s USING (shard)
 CROSS JOIN LATERAL ({FIND_VOTE.format(order="ASC")}) AS first
 CROSS JOIN LATERAL ({FIND_VOTE.format(order="DESC")}) AS last
 ORDER BY v.tool, v.shard
"""
READ_EDITORIAL_EVENTS = """
SELECT position, recorded_at, type, tool, CASE WHEN type LIKE 'Reviewer%' THEN data->>'slug' ELSE data->>'reviewer' END,
       choice, CAST(data->>'revision' AS integer), data->>'digest'
  FROM events
 WHERE shard = 0 AND position > $1 AND position <= $2
 ORDER BY position LIMIT $3
"""


class VoteSpan(Struct, frozen=True):
    """The number of casts and retractions on a tool in one shard, and the first and the last of them."""

    tool: int
    count: int
    first: Position
    last: Position


class EditorialChange(Struct, frozen=True):
    """An editorial event without its author. ``tool`` is a slug, ``rulebook`` a digest."""

    position: Position
    recorded_at: datetime
    type: str
    tool: str | None
    reviewer: str | None
    choice: Choice | None
    revision: int | None
    rulebook: str | None


class DiffRange:
    """The log after one moment and up to a later one. Both snapshots share one transaction, and block sums have reached both."""

    def __init__(self, before: AsOfSnapshot, after: AsOfSnapshot) -> None:
        self._after, self._last = before.editorial_position, after.editorial_position
        self._snapshot = after
        self._span = (
            [each.shard for each in after.positions],
            [each.number for each in before.positions],
            [each.number for each in after.positions],
        )

    async def read_changed_tools(self, after: int, limit: int) -> list[int]:
        """The numbers above ``after`` of tools with events in the range, ascending."""
        return [
            row[0]
            for row in await self._snapshot.fetch_unscoped(READ_CHANGED_TOOLS, *self._span, after, limit)
        ]

    async def read_listed_tools(self, after: int, limit: int) -> list[int]:
        """The numbers above ``after`` of all tools at the later moment, ascending."""
        return [
            row[0] for row in await self._snapshot.fetch_unscoped(READ_LISTED_TOOLS, after, self._last, limit)
        ]

    async def read_vote_spans(self, tools: Sequence[int]) -> list[VoteSpan]:
        """In order of tool and shard."""
        return [
            _vote_span(row)
            for row in await self._snapshot.fetch_unscoped(READ_VOTE_SPANS, *self._span, list(tools))
        ]

    async def read_editorial_events(self, after: int, limit: int) -> list[EditorialChange]:
        """Those after the position ``after``, in order of position."""
        rows = await self._snapshot.fetch_unscoped(
            READ_EDITORIAL_EVENTS, max(after, self._after), self._last, limit
        )
        tools = list({row["tool"] for row in rows})
        slugs = {row["tool"]: row["slug"] for row in await self._snapshot.fetch_unscoped(READ_SLUGS, tools)}
        return [_editorial_change(row, slugs.get(row["tool"])) for row in rows]


def _editorial_change(row: Record, slug: str | None) -> EditorialChange:
    number, recorded_at, kind, _, *rest = row
    return EditorialChange(Position(EDITORIAL, number), recorded_at, kind, slug, *rest)


def _vote_span(row: Record) -> VoteSpan:
    tool, shard, count, first, last = row
    return VoteSpan(tool, count, Position(Shard(shard), first), Position(Shard(shard), last))
