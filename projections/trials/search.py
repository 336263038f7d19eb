"""The search of a trial: cut the history of every tool into slices, and read ambiguous slices more closely."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from domain.timeline.changes import Change
from domain.timeline.scenarios import AmbiguousSlice, Scenario, TimeSlice
from domain.timeline.transitions import microseconds
from domain.timeline.vote_delta import VoteDelta
from projections.flips.editorial_history import EditorialHistory
from projections.trials.vote_deltas import (
    FINER_BITS,
    Queries,
    SliceQuery,
    SliceVotes,
    ToolSlice,
    VoteDeltas,
)

_NO_VOTES = VoteDelta()


class VoteReader(Protocol):
    """A source of vote events: Postgres or segments."""

    async def read(self, queries: Queries, selection: SliceQuery) -> None: ...


class FlipSearch:
    """``seconds`` is the length of the longer slices. Scenarios collect verdicts and flips."""

    def __init__(self, history: EditorialHistory, scenarios: Sequence[Scenario], seconds: float) -> None:
        self._history, self._scenarios, self._seconds = history, scenarios, seconds
        self._finer_seconds = seconds / (1 << FINER_BITS)
        self._deltas, self._finer_deltas, self._votes = VoteDeltas(), VoteDeltas(), SliceVotes()

    async def run(self, readers: Sequence[VoteReader], *, by_day: bool) -> None:
        """Find every flip and judge every tool, in every scenario."""
        deltas, finer = self._deltas.queries(by_day=by_day), self._finer_deltas.queries(by_day=by_day)
        await _read(readers, deltas, SliceQuery(self._seconds))
        if ambiguous := await asyncio.to_thread(self._scan):
            await _read(readers, finer, SliceQuery(self._finer_seconds, _keys(ambiguous), FINER_BITS))
            ambiguous = await asyncio.to_thread(self._scan_finer, ambiguous)
        if ambiguous:
            await _read(readers, self._votes.queries, SliceQuery(self._finer_seconds, _keys(ambiguous)))
            await asyncio.to_thread(self._fold, ambiguous)

    def _scan(self) -> list[AmbiguousSlice]:
        return [
            ambiguous
            for tool in sorted(self._history.tools)
            for scenario in self._scenarios
            for ambiguous in scenario.scan(tool, self._slices(tool, scenario))
        ]

    def _scan_finer(self, slices: Sequence[AmbiguousSlice]) -> list[AmbiguousSlice]:
        return [
            ambiguous
            for each in slices
            for ambiguous in each.scenario.scan_finer(each, self._finer_slices(each))
        ]

    def _fold(self, slices: Sequence[AmbiguousSlice]) -> None:
        for each in slices:
            each.scenario.fold(each, self._votes.of(each.tool, each.slice.number))

    def _slices(self, tool: int, scenario: Scenario) -> Iterator[TimeSlice]:
        """One for the whole history if the scenario does not weigh votes."""
        changes: list[Change] = [*self._history.takes.get(tool, ()), *scenario.adoptions]
        changes.sort(key=lambda each: each.order.number)  # all are in the editorial shard
        if not scenario.weighs_votes:
            yield TimeSlice(0, self._deltas.total(tool), tuple(changes))
            return
        deltas, by_slice = self._deltas.by_slice(tool), _by_slice(changes, self._seconds)
        for number in sorted(deltas.keys() | by_slice.keys()):
            yield TimeSlice(number, deltas.get(number, _NO_VOTES), tuple(by_slice.get(number, ())))

    def _finer_slices(self, ambiguous: AmbiguousSlice) -> Iterator[TimeSlice]:
        deltas, first = self._finer_deltas.by_slice(ambiguous.tool), ambiguous.slice.number << FINER_BITS
        by_slice = _by_slice(ambiguous.slice.changes, self._finer_seconds)
        for number in range(first, first + (1 << FINER_BITS)):
            delta = deltas.get(number)
            if number in by_slice:
                yield TimeSlice(number, delta or _NO_VOTES, tuple(by_slice[number]))
            elif delta is not None:
                yield TimeSlice(number, delta)


async def _read(readers: Sequence[VoteReader], queries: Queries, selection: SliceQuery) -> None:
    for reader in readers:
        await reader.read(queries, selection)


def _keys(slices: Sequence[AmbiguousSlice]) -> tuple[ToolSlice, ...]:
    return tuple(sorted({(each.tool, each.slice.number) for each in slices}))


def _by_slice(changes: Iterable[Change], seconds: float) -> dict[int, list[Change]]:
    """By the numbers of the slices, computed as the SELECTs do."""
    grouped: dict[int, list[Change]] = {}
    for change in changes:
        number = math.floor(microseconds(change.order.recorded_at) / 1_000_000 / seconds)
        grouped.setdefault(number, []).append(change)
    return grouped
