"""Walks: one tool's course through the stretches of its history. What may have flipped it on the way is looked at closely."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from msgspec import Struct

from domain.cells import Cell
from domain.courses import Change, Course
from domain.flips import Flip, Place
from domain.log import Shard
from domain.words import Choice

# (microseconds since 1970, shard, position, choice, replaced, day, day of the replaced cast): in the log's order when sorted.
Vote: TypeAlias = tuple[int, int, int, Choice | None, Choice | None, int, int | None]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


def fold(course: Course, votes: Iterable[Vote], changes: Iterable[Change]) -> Iterator[Flip]:
    """Event by event; both are in the log's order."""
    coming = deque((_key(change.place), change) for change in changes)
    for vote in votes:
        moment, shard, position, choice, replaced, day, replaced_day = vote
        while coming and coming[0][0] < (moment, shard, position):
            yield from _if_any(course.change(coming.popleft()[1]))
        if course.count(choice, replaced, day, replaced_day):
            yield from _if_any(
                course.judge(_place(moment, shard, position), "VoteCast" if choice else "VoteRetracted")
            )
    for _, change in coming:
        yield from _if_any(course.change(change))


def moment_of(time: datetime) -> int:
    """Microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def _key(place: Place) -> tuple[int, int, int]:
    return moment_of(place.recorded_at), place.shard, place.number


def _place(moment: int, shard: int, position: int) -> Place:
    return Place(_EPOCH + timedelta(microseconds=moment), Shard(shard), position)


def _if_any(flip: Flip | None) -> tuple[Flip, ...]:
    return () if flip is None else (flip,)
