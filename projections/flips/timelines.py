"""Courses: where every tool stands at the frontier of the flip log, so that the next events say what they flip."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

import msgspec
from asyncpg import Record
from msgspec import Struct

from domain.rulebooks.rulebook import Rulebook
from domain.timeline.aged_votes import Days, Sums
from domain.timeline.flips import Flip
from domain.timeline.running_votes import RunningVotes
from domain.timeline.timeline import TakeChange, VerdictTimeline
from domain.timeline.vote_delta import NO_DAYS, VoteDelta
from domain.verdicts.verdict import Judgement
from projections.flips.votes import Connection, PositionRanges, count_votes, date_votes

READ = """
SELECT tool, label, takes, ship, skip, today, first_day, aged_count, aged_ship, aged_skip
  FROM courses WHERE shard = 0 AND tool = ANY($1)
"""
READ_ALL = """
SELECT tool, label, takes, ship, skip, today, first_day, aged_count, aged_ship, aged_skip
  FROM courses WHERE shard = 0 ORDER BY tool
"""
READ_DAYS = """
SELECT d.tool, d.day, d.ship, d.skip
  FROM unnest($1::integer[], $2::integer[]) AS t (tool, since)
  JOIN course_days AS d ON d.shard = 0 AND d.tool = t.tool AND d.day >= t.since
 WHERE d.ship <> 0 OR d.skip <> 0 ORDER BY d.tool, d.day
"""
KEEP_SUMS = """
UPDATE courses AS c SET first_day = s.first_day, aged_count = s.aged_count, aged_ship = s.aged_ship, aged_skip = s.aged_skip
  FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::numeric[], $5::numeric[])
       AS s (tool, first_day, aged_count, aged_ship, aged_skip)
 WHERE c.shard = 0 AND c.tool = s.tool
"""
KEEP = """
INSERT INTO courses (shard, tool, label, takes)
SELECT 0, tool, label, takes::jsonb FROM unnest($1::integer[], $2::text[], $3::text[]) AS c (tool, label, takes)
 ORDER BY tool
ON CONFLICT (shard, tool) DO UPDATE SET label = excluded.label, takes = excluded.takes
"""


_judgements = msgspec.json.Decoder(tuple[Judgement, ...])


class ToolBatch(Struct):
    """A tool's course before the votes of a span, and what those move."""

    timeline: VerdictTimeline
    delta: VoteDelta

    def fast_forward(self, takes: Sequence[TakeChange]) -> list[Flip] | None:
        """The flips of a stretch in which these takes changed too. None where it has to be followed event by event."""
        if takes:
            return self.timeline.fast_forward_through(self.delta, takes)
        if self.timeline.can_flip(self.delta):
            return None
        self.timeline.fast_forward(self.delta)
        return []


async def advance_past_votes(conn: Connection, span: PositionRanges, book: Rulebook) -> dict[int, ToolBatch]:
    """Put the votes of a span into courses and days; gives each tool they are on as it was before, and what they moved."""
    rows = await count_votes(conn, span)
    timelines = await _timelines(conn, rows, book)
    added, removed = await date_votes(conn, span) if book.weighs_age else ({}, {})
    return {
        row["tool"]: ToolBatch(
            timelines[row["tool"]],
            VoteDelta(
                row["ship_in"],
                row["ship_out"],
                row["skip_in"],
                row["skip_out"],
                row["until"],
                added.get(row["tool"], NO_DAYS),
                removed.get(row["tool"], NO_DAYS),
            ),
        )
        for row in rows
    }


async def read_timelines(
    conn: Connection, book: Rulebook, tools: Collection[int]
) -> dict[int, VerdictTimeline]:
    """Those of these tools that have begun, under the rulebook in force."""
    return await _timelines(conn, await conn.fetch(READ, list(tools)), book)


async def read_all_timelines(conn: Connection, book: Rulebook, *, dated: bool) -> dict[int, VerdictTimeline]:
    """Every course that has begun; ``dated`` with all votes by day, for a rulebook that is to weigh them anew."""
    return await _timelines(conn, await conn.fetch(READ_ALL), book, dated=dated)


async def save_timelines(conn: Connection, timelines: Iterable[VerdictTimeline]) -> None:
    """Labels and takes; votes are counted where they are read."""
    kept = [
        (each.tool, each.label, msgspec.json.encode(tuple(each.takes.values())).decode())
        for each in timelines
    ]
    if kept:
        tools, labels, takes = zip(*kept, strict=True)
        await conn.execute(KEEP, tools, labels, takes)


async def save_sums(conn: Connection, timelines: Iterable[VerdictTimeline]) -> None:
    """What votes weigh by their age, where the rulebook in force weighs it."""
    voted = [each for each in timelines if each.votes.today is not None]
    kept = [(each.tool, *msgspec.structs.astuple(sums)) for each in voted if (sums := each.votes.sums)]
    if kept:
        await conn.execute(KEEP_SUMS, *zip(*kept, strict=True))


async def _timelines(
    conn: Connection, rows: Sequence[Record], book: Rulebook, *, dated: bool = False
) -> dict[int, VerdictTimeline]:
    """Under a rulebook that weighs age sums say it all but for the days in its window; ``dated`` is with all days."""
    since = (
        _window(book, rows) if book.weighs_age and not dated else {row["tool"]: 0 for row in rows if dated}
    )
    days: dict[int, Days] = defaultdict(dict)
    for tool, day, ship, skip in (
        await conn.fetch(READ_DAYS, list(since), list(since.values())) if since else []
    ):
        days[tool][day] = [ship, skip]
    return {
        row["tool"]: _timeline(
            row, book, days[row["tool"]] if dated or book.weighs_age else None, summed=not dated
        )
        for row in rows
    }


def _window(book: Rulebook, rows: Sequence[Record]) -> dict[int, int]:
    """From which day on votes count, by tool; nothing where all do."""
    window = book.community.window_days
    if window is None:
        return {}
    return {row["tool"]: row["today"] - window + 1 for row in rows if row["today"] is not None}


def _timeline(row: Record, book: Rulebook, days: Days | None, *, summed: bool) -> VerdictTimeline:
    takes = {each.reviewer: each for each in _judgements.decode(row["takes"])}
    sums = None
    if summed and book.weighs_age and row["first_day"] is not None:
        sums = Sums(row["first_day"], row["aged_count"], int(row["aged_ship"]), int(row["aged_skip"]))
    votes = RunningVotes(row["ship"], row["skip"], row["today"], days, sums)
    return VerdictTimeline(row["tool"], book, label=row["label"], takes=takes, votes=votes)
