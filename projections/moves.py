"""Moves: what votes did to every tool, stretch of time by stretch, and the single votes of the stretches that are asked for.

A stretch is a number: the time since 1970 over its length. The same SELECTs are run by Postgres over ranges and by DuckDB
over segments. `votes` are the events of votes, all of them or those of the tools and stretches that are asked for, with
the number of the stretch that each lies in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TypeAlias

from msgspec import Struct

from domain.cells import Cell
from domain.walks import Vote
from domain.words import Choice

MOVES = """
SELECT tool, stretch,
       count(*) FILTER (WHERE choice = 'ship') AS ship_in, count(*) FILTER (WHERE replaced = 'ship') AS ship_out,
       count(*) FILTER (WHERE choice = 'skip') AS skip_in, count(*) FILTER (WHERE replaced = 'skip') AS skip_out
  FROM votes GROUP BY tool, stretch
"""
# The same by the days of the casts that came, and of those that were taken back.
MOVES_BY_DAY = """
SELECT tool, stretch, array_agg(day), array_agg(replaced_day),
       array_agg(ship_in), array_agg(ship_out), array_agg(skip_in), array_agg(skip_out)
  FROM (SELECT tool, stretch, CAST(CAST(recorded_at AS date) - DATE '1970-01-01' AS integer) AS day,
               CAST(CAST(replaced_at AS date) - DATE '1970-01-01' AS integer) AS replaced_day,
               count(*) FILTER (WHERE choice = 'ship') AS ship_in, count(*) FILTER (WHERE replaced = 'ship') AS ship_out,
               count(*) FILTER (WHERE choice = 'skip') AS skip_in, count(*) FILTER (WHERE replaced = 'skip') AS skip_out
          FROM votes GROUP BY 1, 2, 3, 4) AS days
 GROUP BY tool, stretch
"""
VOTES = """
SELECT tool, stretch, shard,
       array_agg(CAST(extract(epoch FROM recorded_at) * 1000000 AS bigint)), array_agg(position),
       array_agg(CASE choice WHEN 'ship' THEN 1 WHEN 'skip' THEN 2 ELSE 0 END
                 + CASE replaced WHEN 'ship' THEN 3 WHEN 'skip' THEN 6 ELSE 0 END),
       array_agg(CAST(CAST(replaced_at AS date) - DATE '1970-01-01' AS integer))
  FROM votes GROUP BY tool, stretch, shard
"""
_CHOICES: tuple[Choice | None, ...] = (None, "ship", "skip")
_MOVED = [(choice, replaced) for replaced in _CHOICES for choice in _CHOICES]
_DAY = 86_400_000_000

Key: TypeAlias = tuple[int, int]  # a tool, and the number of a stretch

# A stretch that is looked at more closely is divided into so many; a power of two, so that their numbers nest.
FINER = 4  # bits


class Ask(Struct, frozen=True):
    """Stretches of ``seconds``; of ``wanted``, which are numbered as ``bits`` wider, or all."""

    seconds: float
    by_day: bool
    wanted: tuple[Key, ...] | None = None
    bits: int = 0

    @property
    def columns(self) -> tuple[list[int], list[int]]:
        """The tools and the stretches that are wanted."""
        wanted = self.wanted or ()
        return [tool for tool, _ in wanted], [number for _, number in wanted]

    @property
    def moves(self) -> str:
        return MOVES_BY_DAY if self.by_day else MOVES


class Moves:
    """What was read of each tool, added up over shards and ranges."""

    def __init__(self) -> None:
        self._cells = defaultdict[int, dict[int, Cell]](dict)

    def add(self, tool: int, stretch: int, ship_in: int, ship_out: int, skip_in: int, skip_out: int) -> None:
        """A row of MOVES."""
        self._add(tool, stretch, Cell(ship_in, ship_out, skip_in, skip_out))

    def add_by_day(
        self,
        tool: int,
        stretch: int,
        days: Sequence[int],
        replaced_days: Sequence[int | None],
        ship_in: Sequence[int],
        ship_out: Sequence[int],
        skip_in: Sequence[int],
        skip_out: Sequence[int],
    ) -> None:
        """A row of MOVES_BY_DAY."""
        came = zip(days, ship_in, skip_in, strict=True)
        gone = zip(replaced_days, ship_out, skip_out, strict=True)
        moved = [(day, ship, 0, skip, 0) for day, ship, skip in came if ship or skip]
        moved += [(day, 0, ship, 0, skip) for day, ship, skip in gone if day is not None]
        counts = sum(ship_in), sum(ship_out), sum(skip_in), sum(skip_out)
        self._add(tool, stretch, Cell(*counts, max(days), tuple(moved)))

    def _add(self, tool: int, stretch: int, cell: Cell) -> None:
        cells = self._cells[tool]
        before = cells.get(stretch)
        cells[stretch] = cell if before is None else before + cell

    def all_of(self, tool: int) -> Cell:
        """Without days."""
        cells = self.of(tool).values()
        return Cell(
            sum(each.ship_in for each in cells),
            sum(each.ship_out for each in cells),
            sum(each.skip_in for each in cells),
            sum(each.skip_out for each in cells),
        )

    def of(self, tool: int) -> dict[int, Cell]:
        """By stretch."""
        return self._cells.get(tool, {})


class Votes:
    """The single votes of stretches, as they are read."""

    def __init__(self) -> None:
        self._votes = defaultdict[Key, list[Vote]](list)

    def add(
        self,
        tool: int,
        stretch: int,
        shard: int,
        moments: Sequence[int],
        positions: Sequence[int],
        moves: Sequence[int],
        replaced_days: Sequence[int | None],
    ) -> None:
        """A row of VOTES."""
        self._votes[tool, stretch] += [
            (moment, shard, position, *_MOVED[move], moment // _DAY, replaced_day)
            for moment, position, move, replaced_day in zip(
                moments, positions, moves, replaced_days, strict=True
            )
        ]

    def of(self, tool: int, stretch: int) -> list[Vote]:
        """In the log's order."""
        return sorted(self._votes[tool, stretch])
