"""Walks of a trial: every tool through its history on both sides, closer and closer where a flip may hide."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from domain.timeline.scenarios import Side
from domain.timeline.search import Doubt, Stretch
from domain.timeline.timeline import Change
from domain.timeline.transitions import moment_of
from domain.timeline.vote_delta import Cell
from projections.flips.editorial_history import EditorialHistory
from projections.trials.vote_deltas import FINER, Ask, Key, Moves, Votes


class Reader(Protocol):
    """Where moves and votes are read."""

    async def read_moves(self, moves: Moves, ask: Ask) -> None: ...
    async def read_votes(self, votes: Votes, ask: Ask) -> None: ...


_NO_VOTES = Cell()


class Doubtful(Struct, frozen=True):
    side: Side
    doubt: Doubt

    @property
    def key(self) -> Key:
        return self.doubt.course.tool, self.doubt.stretch.number


class Walks:
    """``seconds`` is how long the wider stretches are."""

    def __init__(self, editorial: EditorialHistory, sides: Sequence[Side], seconds: float) -> None:
        self._editorial, self._sides, self._seconds = editorial, sides, seconds
        self._finer_seconds = seconds / (1 << FINER)
        self._wide, self._fine, self._votes = Moves(), Moves(), Votes()

    async def run(self, readers: Sequence[Reader], *, by_day: bool) -> None:
        """Until every flip is found, and every tool is judged, on every side."""
        for reader in readers:
            await reader.read_moves(self._wide, Ask(self._seconds, by_day))
        wide = await asyncio.to_thread(self._explore)
        for reader in readers if wide else ():
            await reader.read_moves(self._fine, Ask(self._finer_seconds, by_day, _keys(wide), FINER))
        fine = await asyncio.to_thread(self._explore_finer, wide)
        for reader in readers if fine else ():
            await reader.read_votes(self._votes, Ask(self._finer_seconds, by_day, _keys(fine)))
        await asyncio.to_thread(self._fold, fine)

    def _explore(self) -> list[Doubtful]:
        return [
            Doubtful(side, doubt)
            for tool in self._editorial.tools
            for side in self._sides
            for doubt in side.explore(tool, self._stretches(tool, side))
        ]

    def _explore_finer(self, doubtful: Sequence[Doubtful]) -> list[Doubtful]:
        return [
            Doubtful(each.side, doubt)
            for each in doubtful
            for doubt in each.side.explore_finer(each.doubt, self._finer(each.doubt))
        ]

    def _fold(self, doubtful: Sequence[Doubtful]) -> None:
        for each in doubtful:
            each.side.fold(each.doubt, self._votes.of(*each.key))

    def _stretches(self, tool: int, side: Side) -> Iterator[Stretch]:
        """Of a side that weighs no votes, it does not matter when they were cast: all is one."""
        happened: list[Change] = [*self._editorial.takes.get(tool, ()), *side.adoptions]
        happened.sort(key=lambda each: each.place.number)  # all are the house's
        if not side.weighs_votes:
            yield Stretch(0, self._wide.all_of(tool), tuple(happened))
            return
        cells, changes = self._wide.of(tool), _grouped(happened, self._seconds)
        for number in sorted(cells.keys() | changes.keys()):
            yield Stretch(number, cells.get(number, _NO_VOTES), tuple(changes.get(number, ())))

    def _finer(self, doubt: Doubt) -> Iterator[Stretch]:
        cells, first = self._fine.of(doubt.course.tool), doubt.stretch.number << FINER
        changes = _grouped(doubt.stretch.changes, self._finer_seconds)
        for number in range(first, first + (1 << FINER)):
            cell = cells.get(number)
            if number in changes:
                yield Stretch(number, cell or _NO_VOTES, tuple(changes[number]))
            elif cell is not None:
                yield Stretch(number, cell)


def _keys(doubtful: Sequence[Doubtful]) -> tuple[Key, ...]:
    return tuple(sorted({each.key for each in doubtful}))


def _grouped(changes: Iterable[Change], seconds: float) -> dict[int, list[Change]]:
    """By the stretch that they lie in, as SELECTs have it."""
    grouped: dict[int, list[Change]] = {}
    for change in changes:
        number = math.floor(moment_of(change.place.recorded_at) / 1_000_000 / seconds)
        grouped.setdefault(number, []).append(change)
    return grouped
