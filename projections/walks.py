"""Walks of a trial: every tool through its history on both sides, closer and closer where a flip may hide."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeAlias

from domain.cells import Cell
from domain.courses import Change
from domain.sides import Side
from domain.walks import Stretch, moment_of
from projections.house_history import HouseHistory
from projections.moves import FINER, Ask, Key, Moves, Votes


class Reader(Protocol):
    """Where moves and votes are read."""

    async def read_moves(self, moves: Moves, ask: Ask) -> None: ...
    async def read_votes(self, votes: Votes, ask: Ask) -> None: ...


Numbered: TypeAlias = tuple[int, Change]
_NO_VOTES = Cell()


class Walks:
    """``seconds`` is how long the widest stretches are. Stretches are numbered as the finer ones."""

    def __init__(self, house: HouseHistory, sides: Sequence[Side], seconds: float) -> None:
        self._house, self._sides, self._seconds = house, sides, seconds
        self._wide, self._fine, self._votes = Moves(), Moves(), Votes()
        self._closer: set[Key] = set()

    async def run(self, readers: Sequence[Reader], *, by_day: bool) -> None:
        """Until every tool has been judged on every side."""
        finer = self._seconds / (1 << FINER)
        for reader in readers:
            await reader.read_moves(self._wide, Ask(self._seconds, by_day))
        wide = await asyncio.to_thread(self._explore)
        if wide:
            self._closer = {(tool, number >> FINER) for tool, number in wide}
            for reader in readers:
                await reader.read_moves(self._fine, Ask(finer, by_day, tuple(sorted(self._closer)), FINER))
            doubtful = await asyncio.to_thread(self._explore)
            for reader in readers if doubtful else ():
                await reader.read_votes(self._votes, Ask(finer, by_day, tuple(sorted(doubtful))))
            await asyncio.to_thread(self._walk)

    def _explore(self) -> set[Key]:
        return {
            (tool, number)
            for tool in self._house.tools
            for side in self._sides
            if tool not in side.verdicts
            for number in side.explore(tool, self._stretches(tool, side))
        }

    def _walk(self) -> None:
        for tool in self._house.tools:
            for side in self._sides:
                if tool not in side.verdicts:
                    side.walk(tool, self._stretches(tool, side), partial(self._votes.of, tool))

    def _stretches(self, tool: int, side: Side) -> Iterator[Stretch]:
        wide, fine = self._wide.of(tool), self._fine.of(tool)
        changes = self._changes(tool, side)
        for number in sorted(wide.keys() | changes.keys()):
            here = changes.get(number, [])
            if (tool, number) in self._closer:
                yield from self._finer(number, fine, here)
            else:
                yield Stretch(number << FINER, wide.get(number, _NO_VOTES), tuple(each for _, each in here))

    def _finer(
        self, number: int, cells: Mapping[int, Cell], changes: Sequence[Numbered]
    ) -> Iterator[Stretch]:
        first = number << FINER
        for fine in range(first, first + (1 << FINER)):
            here = tuple(change for each, change in changes if each == fine)
            if here or fine in cells:
                yield Stretch(fine, cells.get(fine, _NO_VOTES), here)

    def _changes(self, tool: int, side: Side) -> dict[int, list[Numbered]]:
        """By the wider stretch, with the number of the finer one; all are the house's, in the order of its positions."""
        happened: list[Change] = [*self._house.takes.get(tool, ()), *side.adoptions]
        changes: dict[int, list[Numbered]] = {}
        for change in sorted(happened, key=lambda each: each.place.number):
            time = moment_of(change.place.recorded_at) / 1_000_000
            fine = math.floor(time / (self._seconds / (1 << FINER)))
            changes.setdefault(fine >> FINER, []).append((fine, change))
        return changes
