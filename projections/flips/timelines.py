"""Stored timelines: the state of every tool at the frontier of the flip log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

import msgspec
from asyncpg import Record
from msgspec import Struct

from domain.rulebooks.rulebook import Rulebook
from domain.timeline.aged_votes import Days, Sums
from domain.timeline.running_votes import RunningVotes
from domain.timeline.timeline import VerdictTimeline
from domain.timeline.vote_delta import NO_DAYS, VoteDelta
from domain.verdicts.verdict import Judgement
from projections.flips.votes import Connection, PositionRanges, count_votes, date_votes

READ_TIMELINES = """
SELECT tool, label, takes, ship, skip, today, first_day, aged_count, aged_ship, aged_skip
  FROM verdict_timelines WHERE shard = 0 AND tool = ANY($1)
"""
READ_ALL_TIMELINES = """
SELECT tool, label, takes, ship, skip, today, first_day, aged_count, aged_ship, aged_skip
  FROM verdict_timelines WHERE shard = 0 ORDER BY tool
"""
READ_DAYS = """
SELECT d.tool, d.day, d.ship, d.skip
  FROM unnest($1::integer[], $2::integer[]) AS t (tool, since)
  JOIN timeline_days AS d ON d.shard = 0 AND d.tool = t.tool AND d.day >= t.since
 WHERE d.ship <> 0 OR d.skip <> 0 ORDER BY d.tool, d.day
"""
SAVE_SUMS = """
UPDATE verdict_timelines AS t
   SET first_day = s.first_day, aged_count = s.aged_count, aged_ship = s.aged_ship, aged_skip = s.aged_skip
  FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::numeric[], $5::numeric[])
       AS s (tool, first_day, aged_count, aged_ship, aged_skip)
 WHERE t.shard = 0 AND t.tool = s.tool
"""
SAVE_TIMELINES = """
INSERT INTO verdict_timelines (shard, tool, label, takes)
SELECT 0, tool, label, takes::jsonb FROM unnest($1::integer[], $2::text[], $3::text[]) AS t (tool, label, takes)
 ORDER BY tool
ON CONFLICT (shard, tool) DO UPDATE SET label = excluded.label, takes = excluded.takes
"""

_judgements = msgspec.json.Decoder(tuple[Judgement, ...])


class ToolBatch(Struct):
    """The timeline of a tool before a batch, and the delta of the batch's votes."""

    timeline: VerdictTimeline
    delta: VoteDelta


async def count_batch(conn: Connection, ranges: PositionRanges, book: Rulebook) -> dict[int, ToolBatch]:
    """Add votes to the stored timelines and their days. Returns the tools with votes, with their timelines before."""
    rows = await count_votes(conn, ranges)
    timelines = await _timelines(conn, rows, book)
    added, removed = await date_votes(conn, ranges) if book.weighs_age else ({}, {})
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
    """Those of the tools that have any votes or takes; ``book`` is the rulebook in force."""
    return await _timelines(conn, await conn.fetch(READ_TIMELINES, list(tools)), book)


async def read_all_timelines(conn: Connection, book: Rulebook, *, dated: bool) -> dict[int, VerdictTimeline]:
    """``dated``: with all votes by day, for a rulebook that is to weigh their age for the first time."""
    return await _timelines(conn, await conn.fetch(READ_ALL_TIMELINES), book, dated=dated)


async def save_timelines(conn: Connection, timelines: Iterable[VerdictTimeline]) -> None:
    """Labels and takes. Votes are saved where they are counted."""
    rows = [
        (each.tool, each.label, msgspec.json.encode(tuple(each.takes.values())).decode())
        for each in timelines
    ]
    if rows:
        tools, labels, takes = zip(*rows, strict=True)
        await conn.execute(SAVE_TIMELINES, tools, labels, takes)


async def save_sums(conn: Connection, timelines: Iterable[VerdictTimeline]) -> None:
    """The weights of votes by age, if the rulebook in force weighs age."""
    voted = [each for each in timelines if each.votes.today is not None]
    rows = [(each.tool, *msgspec.structs.astuple(sums)) for each in voted if (sums := each.votes.sums)]
    if rows:
        await conn.execute(SAVE_SUMS, *zip(*rows, strict=True))


async def _timelines(
    conn: Connection, rows: Sequence[Record], book: Rulebook, *, dated: bool = False
) -> dict[int, VerdictTimeline]:
    """A rulebook that weighs age needs the stored sums and the days in its window, or ``dated`` all days and no sums."""
    with_days = dated or book.weighs_age
    days = await _read_days(conn, {row["tool"]: 0 for row in rows} if dated else _window_starts(book, rows))
    return {
        row["tool"]: _timeline(row, book, days[row["tool"]] if with_days else None, with_sums=not dated)
        for row in rows
    }


async def _read_days(conn: Connection, since: dict[int, int]) -> dict[int, Days]:
    """From a day on, by tool."""
    days: dict[int, Days] = defaultdict(dict)
    rows = await conn.fetch(READ_DAYS, list(since), list(since.values())) if since else []
    for tool, day, ship, skip in rows:
        days[tool][day] = [ship, skip]
    return days


def _window_starts(book: Rulebook, rows: Sequence[Record]) -> dict[int, int]:
    """By tool, the first day of the window; empty if the rulebook has no window or does not weigh age."""
    window = book.community.window_days
    if window is None or not book.weighs_age:
        return {}
    return {row["tool"]: row["today"] - window + 1 for row in rows if row["today"] is not None}


def _timeline(row: Record, book: Rulebook, days: Days | None, *, with_sums: bool) -> VerdictTimeline:
    takes = {each.reviewer: each for each in _judgements.decode(row["takes"])}
    sums = None
    if with_sums and book.weighs_age and row["first_day"] is not None:
        sums = Sums(row["first_day"], row["aged_count"], int(row["aged_ship"]), int(row["aged_skip"]))
    votes = RunningVotes(row["ship"], row["skip"], row["today"], days, sums)
    return VerdictTimeline(row["tool"], book, label=row["label"], takes=takes, votes=votes)
