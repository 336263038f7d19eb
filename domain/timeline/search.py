"""Walks: one tool's course through the stretches of its history. What may have flipped it on the way is looked at closely."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from domain.timeline.flips import Flip
from domain.timeline.timeline import Change, Course
from domain.timeline.transitions import Vote, key_of
from domain.timeline.vote_delta import Cell


class Stretch(Struct, frozen=True):
    """All that happened to a tool within a time: its votes in numbers, and the changes one by one."""

    number: int
    cell: Cell
    changes: tuple[Change, ...] = ()


class Doubt(Struct, frozen=True):
    """A stretch that may hide flips, and the course as it was before it."""

    stretch: Stretch
    course: Course


def explore(course: Course, stretches: Iterable[Stretch]) -> tuple[list[Flip], list[Doubt]]:
    """The flips that are certain without looking at single votes, and where there may be others. The course goes on to the end."""
    flips: list[Flip] = []
    doubts: list[Doubt] = []
    for stretch in stretches:
        leapt = _leap(course, stretch)
        if leapt is None:
            doubts.append(Doubt(stretch, course.copy(stretch.changes)))
            course.pass_by(stretch.cell, stretch.changes)
        else:
            flips += leapt
    return flips, doubts


def _leap(course: Course, stretch: Stretch) -> list[Flip] | None:
    if stretch.changes:
        return course.leap_through(stretch.cell, stretch.changes)
    if course.can_flip(stretch.cell):
        return None
    course.leap(stretch.cell)
    return []


def fold(course: Course, votes: Sequence[Vote], changes: Iterable[Change]) -> Iterator[Flip]:
    """Event by event; both are in the log's order."""
    done = 0
    for change in changes:
        before = bisect_left(votes, key_of(change.place), done)
        yield from course.follow(votes[done:before])
        if (flip := course.change(change)) is not None:
            yield flip
        done = before
    yield from course.follow(votes[done:])
