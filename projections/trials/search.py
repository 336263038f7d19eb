"""Walks of a trial: every tool through its history on both sides, closer and closer where a flip may hide."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from domain.timeline.scenarios import Scenario
from domain.timeline.search import AmbiguousSlice, TimeSlice
from domain.timeline.timeline import Change
from domain.timeline.transitions import moment_of
from domain.timeline.vote_delta import VoteDelta
from projections.flips.editorial_history import EditorialHistory
from projections.trials.vote_deltas import FINER, Key, SliceQuery, SliceVotes, VoteDeltas


class Reader(Protocol):
    """Where moves and votes are read."""

    async def read_moves(self, moves: VoteDeltas, ask: SliceQuery) -> None: ...
    async def read_votes(self, votes: SliceVotes, ask: SliceQuery) -> None: ...


_NO_VOTES = VoteDelta()


class AmbiguousScenarioSlice(Struct, frozen=True):
    side: Scenario
    ambiguous: AmbiguousSlice

    @property
    def key(self) -> Key:
        return self.ambiguous.timeline.tool, self.ambiguous.slice.number


class FlipSearch:
    """``seconds`` is how long the wider stretches are."""

    def __init__(self, editorial: EditorialHistory, sides: Sequence[Scenario], seconds: float) -> None:
        self._editorial, self._sides, self._seconds = editorial, sides, seconds
        self._finer_seconds = seconds / (1 << FINER)
        self._wide, self._fine, self._votes = VoteDeltas(), VoteDeltas(), SliceVotes()

    async def run(self, readers: Sequence[Reader], *, by_day: bool) -> None:
        """Until every flip is found, and every tool is judged, on every side."""
        for reader in readers:
            await reader.read_moves(self._wide, SliceQuery(self._seconds, by_day))
        wide = await asyncio.to_thread(self._explore)
        for reader in readers if wide else ():
            await reader.read_moves(self._fine, SliceQuery(self._finer_seconds, by_day, _keys(wide), FINER))
        fine = await asyncio.to_thread(self._explore_finer, wide)
        for reader in readers if fine else ():
            await reader.read_votes(self._votes, SliceQuery(self._finer_seconds, by_day, _keys(fine)))
        await asyncio.to_thread(self._fold, fine)

    def _explore(self) -> list[AmbiguousScenarioSlice]:
        return [
            AmbiguousScenarioSlice(side, ambiguous)
            for tool in self._editorial.tools
            for side in self._sides
            for ambiguous in side.scan(tool, self._stretches(tool, side))
        ]

    def _explore_finer(self, doubtful: Sequence[AmbiguousScenarioSlice]) -> list[AmbiguousScenarioSlice]:
        return [
            AmbiguousScenarioSlice(each.side, ambiguous)
            for each in doubtful
            for ambiguous in each.side.scan_finer(each.ambiguous, self._finer(each.ambiguous))
        ]

    def _fold(self, doubtful: Sequence[AmbiguousScenarioSlice]) -> None:
        for each in doubtful:
            each.side.fold(each.ambiguous, self._votes.of(*each.key))

    def _stretches(self, tool: int, side: Scenario) -> Iterator[TimeSlice]:
        """Of a side that weighs no votes, it does not matter when they were cast: all is one."""
        happened: list[Change] = [*self._editorial.takes.get(tool, ()), *side.adoptions]
        happened.sort(key=lambda each: each.place.number)  # all are the house's
        if not side.weighs_votes:
            yield TimeSlice(0, self._wide.all_of(tool), tuple(happened))
            return
        deltas, changes = self._wide.of(tool), _grouped(happened, self._seconds)
        for number in sorted(deltas.keys() | changes.keys()):
            yield TimeSlice(number, deltas.get(number, _NO_VOTES), tuple(changes.get(number, ())))

    def _finer(self, ambiguous: AmbiguousSlice) -> Iterator[TimeSlice]:
        deltas, first = self._fine.of(ambiguous.timeline.tool), ambiguous.slice.number << FINER
        changes = _grouped(ambiguous.slice.changes, self._finer_seconds)
        for number in range(first, first + (1 << FINER)):
            delta = deltas.get(number)
            if number in changes:
                yield TimeSlice(number, delta or _NO_VOTES, tuple(changes[number]))
            elif delta is not None:
                yield TimeSlice(number, delta)


def _keys(doubtful: Sequence[AmbiguousScenarioSlice]) -> tuple[Key, ...]:
    return tuple(sorted({each.key for each in doubtful}))


def _grouped(changes: Iterable[Change], seconds: float) -> dict[int, list[Change]]:
    """By the stretch that they lie in, as SELECTs have it."""
    grouped: dict[int, list[Change]] = {}
    for change in changes:
        number = math.floor(moment_of(change.place.recorded_at) / 1_000_000 / seconds)
        grouped.setdefault(number, []).append(change)
    return grouped
