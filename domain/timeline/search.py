"""Walks: one tool's course through the stretches of its history. What may have flipped it on the way is looked at closely."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from domain.timeline.flips import Flip
from domain.timeline.timeline import Change, VerdictTimeline
from domain.timeline.transitions import VoteEvent, key_of
from domain.timeline.vote_delta import VoteDelta


class TimeSlice(Struct, frozen=True):
    """All that happened to a tool within a time: its votes in numbers, and the changes one by one."""

    number: int
    delta: VoteDelta
    changes: tuple[Change, ...] = ()


class AmbiguousSlice(Struct, frozen=True):
    """A stretch that may hide flips, and the course as it was before it."""

    slice: TimeSlice
    timeline: VerdictTimeline


def scan(timeline: VerdictTimeline, slices: Iterable[TimeSlice]) -> tuple[list[Flip], list[AmbiguousSlice]]:
    """The flips that are certain without looking at single votes, and where there may be others. The course goes on to the end."""
    flips: list[Flip] = []
    ambiguous: list[AmbiguousSlice] = []
    for time_slice in slices:
        skipped = _fast_forward(timeline, time_slice)
        if skipped is None:
            ambiguous.append(AmbiguousSlice(time_slice, timeline.copy(time_slice.changes)))
            timeline.advance_past(time_slice.delta, time_slice.changes)
        else:
            flips += skipped
    return flips, ambiguous


def _fast_forward(timeline: VerdictTimeline, time_slice: TimeSlice) -> list[Flip] | None:
    if time_slice.changes:
        return timeline.fast_forward_through(time_slice.delta, time_slice.changes)
    if timeline.can_flip(time_slice.delta):
        return None
    timeline.fast_forward(time_slice.delta)
    return []


def fold(timeline: VerdictTimeline, votes: Sequence[VoteEvent], changes: Iterable[Change]) -> Iterator[Flip]:
    """Event by event; both are in the log's order."""
    done = 0
    for change in changes:
        before = bisect_left(votes, key_of(change.place), done)
        yield from timeline.follow(votes[done:before])
        if (flip := timeline.change(change)) is not None:
            yield flip
        done = before
    yield from timeline.follow(votes[done:])
