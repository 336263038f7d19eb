"""Changes: which tools two moments differ on, and which events came between, house events whole and votes by the tool."""

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

# Between $1 (shards), $2 (after) and $3 (up to): whole blocks from low to high, and the events beside them.
BETWEEN = f"""
WITH span AS MATERIALIZED (
    SELECT shard, after, upto, low, greatest(upto / {BLOCK_EVENTS} * {BLOCK_EVENTS}, low) AS high
      FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS m (shard, after, upto)
     CROSS JOIN LATERAL (SELECT least((after + {BLOCK_EVENTS - 1}) / {BLOCK_EVENTS} * {BLOCK_EVENTS}, upto) AS low) AS l
), beside AS MATERIALIZED (
    SELECT shard, after, low AS upto FROM span UNION ALL SELECT shard, high, upto FROM span
), events AS (
    SELECT e.* FROM beside AS b
      JOIN public.events AS e ON e.shard = b.shard AND e.position > b.after AND e.position <= b.upto
), votes AS (
    SELECT shard, tool, casts FROM span JOIN read_models.block_tally USING (shard)
     WHERE block >= low / {BLOCK_EVENTS} AND block < high / {BLOCK_EVENTS}
     UNION ALL
    SELECT shard, tool, casts FROM ({BLOCK_TALLY.fold_select}) AS folded
)"""
CHANGED = f"""{BETWEEN}
SELECT tool FROM (
    SELECT tool FROM votes WHERE tool > $4
     UNION
    SELECT e.tool FROM span AS s JOIN public.events AS e
        ON s.shard = 0 AND e.shard = 0 AND e.position > s.after AND e.position <= s.upto AND e.tool > $4) AS changed
 ORDER BY tool LIMIT $5
"""
LISTED = "SELECT tool FROM slugs WHERE tool > $1 AND tool <= $2 ORDER BY tool LIMIT $3"
# A vote is looked for in the blocks that have one of its tool, from either end.
VOTES = f"""{BETWEEN}
SELECT v.tool, v.shard, v.casts, first.position, last.position
  FROM (SELECT tool, shard, sum(casts)::bigint AS casts FROM votes WHERE tool = ANY($4) GROUP BY tool, shard) AS v
  JOIN span AS s USING (shard)
 CROSS JOIN LATERAL (
       SELECT e.position FROM read_models.block_tally AS b CROSS JOIN LATERAL (
              SELECT e.position FROM public.events AS e
               WHERE e.shard = v.shard AND e.tool = v.tool AND e.type IN ('VoteCast', 'VoteRetracted')
                 AND e.position > greatest(b.block * {BLOCK_EVENTS}::bigint, s.after)
                 AND e.position <= least((b.block + 1) * {BLOCK_EVENTS}::bigint, s.upto)
               ORDER BY e.position LIMIT 1) AS e
        WHERE b.shard = v.shard AND b.tool = v.tool AND b.block BETWEEN s.after / {BLOCK_EVENTS} AND s.upto / {BLOCK_EVENTS}
        ORDER BY b.block LIMIT 1) AS first
 CROSS JOIN LATERAL (
       SELECT e.position FROM read_models.block_tally AS b CROSS JOIN LATERAL (
              SELECT e.position FROM public.events AS e
               WHERE e.shard = v.shard AND e.tool = v.tool AND e.type IN ('VoteCast', 'VoteRetracted')
                 AND e.position > greatest(b.block * {BLOCK_EVENTS}::bigint, s.after)
                 AND e.position <= least((b.block + 1) * {BLOCK_EVENTS}::bigint, s.upto)
               ORDER BY e.position DESC LIMIT 1) AS e
        WHERE b.shard = v.shard AND b.tool = v.tool AND b.block BETWEEN s.after / {BLOCK_EVENTS} AND s.upto / {BLOCK_EVENTS}
        ORDER BY b.block DESC LIMIT 1) AS last
 ORDER BY v.tool, v.shard
"""
READ_EDITORIAL_EVENTS = """
SELECT position, recorded_at, type, tool, CASE type WHEN 'ReviewerSeated' THEN data->>'slug' ELSE data->>'reviewer' END,
       choice, CAST(data->>'revision' AS integer), data->>'digest'
  FROM events
 WHERE shard = 0 AND position > $1 AND position <= $2
 ORDER BY position LIMIT $3
"""


class VoteSpan(Struct, frozen=True):
    """How many casts and retractions a shard has of a tool, from ``first`` to ``last``."""

    tool: int
    count: int
    first: Position
    last: Position


class EditorialChange(Struct, frozen=True):
    """A house event, without who did it; ``tool`` is a slug, ``rulebook`` a digest."""

    position: Position
    recorded_at: datetime
    type: str
    tool: str | None
    reviewer: str | None
    choice: Choice | None
    revision: int | None
    rulebook: str | None


class Between:
    """What lies after one moment and up to a later one; both are of one snapshot, and blocks have reached both."""

    def __init__(self, before: AsOfSnapshot, after: AsOfSnapshot) -> None:
        self._after, self._last = before.editorial_position, after.editorial_position
        self._snapshot = after
        self._span = (
            [each.shard for each in after.positions],
            [each.number for each in before.positions],
            [each.number for each in after.positions],
        )

    async def tools(self, after: int, most: int) -> list[int]:
        """The tools that some event is about, by number, of those after ``after``."""
        return [row[0] for row in await self._snapshot.fetch_as_is(CHANGED, *self._span, after, most)]

    async def listed(self, after: int, most: int) -> list[int]:
        """All tools that there were, by number, of those after ``after``."""
        return [row[0] for row in await self._snapshot.fetch_as_is(LISTED, after, self._last, most)]

    async def votes(self, tools: Sequence[int]) -> list[VoteSpan]:
        """By tool and shard."""
        return [_votes(row) for row in await self._snapshot.fetch_as_is(VOTES, *self._span, list(tools))]

    async def editorial(self, after: int, most: int) -> list[EditorialChange]:
        """In the order they happened, of those after ``after``."""
        rows = await self._snapshot.fetch_as_is(
            READ_EDITORIAL_EVENTS, max(after, self._after), self._last, most
        )
        tools = list({row["tool"] for row in rows})
        slugs = {row["tool"]: row["slug"] for row in await self._snapshot.fetch_as_is(READ_SLUGS, tools)}
        return [_editorial_change(row, slugs.get(row["tool"])) for row in rows]


def _editorial_change(row: Record, slug: str | None) -> EditorialChange:
    number, recorded_at, kind, _, *rest = row
    return EditorialChange(Position(EDITORIAL, number), recorded_at, kind, slug, *rest)


def _votes(row: Record) -> VoteSpan:
    tool, shard, count, first, last = row
    return VoteSpan(tool, count, Position(Shard(shard), first), Position(Shard(shard), last))
