"""Courses: where every tool stands at the frontier of the flip log, so that the next events say what they flip."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

import msgspec
from asyncpg import Record
from msgspec import Struct

from domain.aged_votes import Days
from domain.cells import Cell
from domain.courses import Course, TakeChanged
from domain.flips import Flip
from domain.rulebooks import Rulebook
from domain.running_votes import RunningVotes
from domain.verdicts import Judgement
from projections.flip_votes import Connection, Span, count_votes, date_votes

READ = "SELECT tool, label, takes, ship, skip, today FROM courses WHERE shard = 0 AND tool = ANY($1)"
READ_ALL = "SELECT tool, label, takes, ship, skip, today FROM courses WHERE shard = 0 ORDER BY tool"
READ_DAYS = """
SELECT tool, day, ship, skip FROM course_days
 WHERE shard = 0 AND tool = ANY($1) AND (ship <> 0 OR skip <> 0) ORDER BY tool, day
"""
KEEP = """
INSERT INTO courses (shard, tool, label, takes)
SELECT 0, tool, label, takes::jsonb FROM unnest($1::integer[], $2::text[], $3::text[]) AS c (tool, label, takes)
 ORDER BY tool
ON CONFLICT (shard, tool) DO UPDATE SET label = excluded.label, takes = excluded.takes
"""


_judgements = msgspec.json.Decoder(tuple[Judgement, ...])


class Stretch(Struct):
    """A tool's course before the votes of a span, and what those move."""

    course: Course
    cell: Cell

    def leap(self, takes: Sequence[TakeChanged]) -> list[Flip] | None:
        """The flips of a stretch in which these takes changed too. None where it has to be followed event by event."""
        if not takes:
            return None if self.course.can_flip(self.cell) else []
        return self.course.leap_through(self.cell, takes)


async def pass_votes(conn: Connection, span: Span, book: Rulebook) -> dict[int, Stretch]:
    """Put the votes of a span into courses and days; gives each tool they are on as it was before, and what they moved."""
    rows = await count_votes(conn, span)
    courses = await _courses(conn, rows, book)
    by_day: dict[int, list[tuple[int, int, int, int, int]]] = defaultdict(list)
    for row in await date_votes(conn, span) if book.weighs_age else []:
        by_day[row[0]].append(tuple(row)[1:])
    return {
        row["tool"]: Stretch(
            courses[row["tool"]],
            Cell(
                row["ship_in"],
                row["ship_out"],
                row["skip_in"],
                row["skip_out"],
                row["until"],
                tuple(by_day[row["tool"]]),
            ),
        )
        for row in rows
    }


async def read_courses(conn: Connection, book: Rulebook, tools: Collection[int]) -> dict[int, Course]:
    """Those of these tools that have begun, under the rulebook in force."""
    return await _courses(conn, await conn.fetch(READ, list(tools)), book)


async def read_all_courses(conn: Connection, book: Rulebook, *, dated: bool) -> dict[int, Course]:
    """Every course that has begun; with the votes by day, if those are kept and wanted."""
    return await _courses(conn, await conn.fetch(READ_ALL), book, dated=dated)


async def keep_courses(conn: Connection, courses: Iterable[Course]) -> None:
    """Labels and takes; votes are counted where they are read."""
    kept = [
        (each.tool, each.label, msgspec.json.encode(tuple(each.takes.values())).decode()) for each in courses
    ]
    if kept:
        tools, labels, takes = zip(*kept, strict=True)
        await conn.execute(KEEP, tools, labels, takes)


async def _courses(
    conn: Connection, rows: Sequence[Record], book: Rulebook, *, dated: bool = False
) -> dict[int, Course]:
    days: dict[int, Days] | None = None
    if dated or book.weighs_age:
        days = defaultdict(dict)
        for tool, day, ship, skip in await conn.fetch(READ_DAYS, [row["tool"] for row in rows]):
            days[tool][day] = [ship, skip]
    return {row["tool"]: _course(row, book, days) for row in rows}


def _course(row: Record, book: Rulebook, days: dict[int, Days] | None) -> Course:
    takes = {each.reviewer: each for each in _judgements.decode(row["takes"])}
    votes = RunningVotes(row["ship"], row["skip"], row["today"], None if days is None else days[row["tool"]])
    return Course(row["tool"], book, label=row["label"], takes=takes, votes=votes)
