"""Moves: what votes did to every tool, stretch of time by stretch, and the single votes of the stretches that are asked for.

A stretch is a number: the time since 1970 over its length. The same SELECTs are run by Postgres over ranges and by DuckDB
over segments. `votes` are the events of votes, all of them or those of the tools and stretches that are asked for, with
the number of the stretch that each lies in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import TypeAlias

from msgspec import Struct

from domain.timeline.transitions import TRANSITIONS, VoteEvent
from domain.timeline.vote_delta import VoteDelta, VotesByDay

MOVES = """
SELECT tool, stretch,
       count(*) FILTER (WHERE choice = 'ship') AS ship_in, count(*) FILTER (WHERE replaced = 'ship') AS ship_out,
       count(*) FILTER (WHERE choice = 'skip') AS skip_in, count(*) FILTER (WHERE replaced = 'skip') AS skip_out
  FROM votes GROUP BY tool, stretch
"""
# The same by days: of the casts that came, and of those that were taken back.
DAYS_CAME = """
SELECT tool, stretch, array_agg(day), array_agg(ship), array_agg(skip)
  FROM (SELECT tool, stretch, CAST(floor(date_part('epoch', recorded_at) / 86400) AS integer) AS day,
               count(*) FILTER (WHERE choice = 'ship') AS ship, count(*) FILTER (WHERE choice = 'skip') AS skip
          FROM votes GROUP BY 1, 2, 3) AS days
 GROUP BY tool, stretch
"""
DAYS_GONE = """
SELECT tool, stretch, array_agg(day), array_agg(ship), array_agg(skip)
  FROM (SELECT tool, stretch, CAST(floor(date_part('epoch', replaced_at) / 86400) AS integer) AS day,
               count(*) FILTER (WHERE replaced = 'ship') AS ship, count(*) FILTER (WHERE replaced = 'skip') AS skip
          FROM votes WHERE replaced IS NOT NULL GROUP BY 1, 2, 3) AS days
 GROUP BY tool, stretch
"""
# What moved has its number in ``domain.timeline.transitions.MOVED``.
VOTES = """
SELECT tool, stretch, shard,
       array_agg(CAST(extract(epoch FROM recorded_at) * 1000000 AS bigint)), array_agg(position),
       array_agg(CASE choice WHEN 'ship' THEN 1 WHEN 'skip' THEN 2 ELSE 0 END
                 + CASE replaced WHEN 'ship' THEN 3 WHEN 'skip' THEN 6 ELSE 0 END),
       array_agg(CAST(floor(date_part('epoch', replaced_at) / 86400) AS integer))
  FROM votes GROUP BY tool, stretch, shard
"""

Column: TypeAlias = Sequence[int]
Queries: TypeAlias = "tuple[tuple[str, Callable[..., None]], ...]"  # each with what takes its rows
Key: TypeAlias = tuple[int, int]  # a tool, and the number of a stretch

# A stretch that is looked at more closely is divided into so many; a power of two, so that their numbers nest.
FINER = 4  # bits


class SliceQuery(Struct, frozen=True):
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


class VoteDeltas:
    """What was read of each tool, added up over shards and ranges."""

    def __init__(self) -> None:
        self._deltas = defaultdict[int, dict[int, VoteDelta]](dict)

    def queries(self, *, by_day: bool) -> Queries:
        if by_day:
            return (DAYS_CAME, self._add_came), (DAYS_GONE, self._add_gone)
        return ((MOVES, self._add_counts),)

    def _add_counts(
        self, tool: int, slice: int, ship_in: int, ship_out: int, skip_in: int, skip_out: int
    ) -> None:
        self._add(tool, slice, VoteDelta(ship_in, ship_out, skip_in, skip_out))

    def _add_came(self, tool: int, slice: int, days: Column, ship: Column, skip: Column) -> None:
        delta = VoteDelta(
            ship_in=sum(ship), skip_in=sum(skip), until=max(days), added=VotesByDay(days, ship, skip)
        )
        self._add(tool, slice, delta)

    def _add_gone(self, tool: int, slice: int, days: Column, ship: Column, skip: Column) -> None:
        delta = VoteDelta(ship_out=sum(ship), skip_out=sum(skip), removed=VotesByDay(days, ship, skip))
        self._add(tool, slice, delta)

    def _add(self, tool: int, slice: int, delta: VoteDelta) -> None:
        deltas = self._deltas[tool]
        before = deltas.get(slice)
        deltas[slice] = delta if before is None else before + delta

    def all_of(self, tool: int) -> VoteDelta:
        """Without days."""
        deltas = self.of(tool).values()
        return VoteDelta(
            sum(each.ship_in for each in deltas),
            sum(each.ship_out for each in deltas),
            sum(each.skip_in for each in deltas),
            sum(each.skip_out for each in deltas),
        )

    def of(self, tool: int) -> dict[int, VoteDelta]:
        """By stretch."""
        return self._deltas.get(tool, {})


class SliceVotes:
    """The single votes of stretches, as they are read."""

    def __init__(self) -> None:
        self._votes = defaultdict[Key, list[VoteEvent]](list)

    @property
    def queries(self) -> Queries:
        return ((VOTES, self._add),)

    def _add(
        self,
        tool: int,
        slice: int,
        shard: int,
        moments: Column,
        positions: Column,
        moves: Column,
        replaced_days: Sequence[int | None],
    ) -> None:
        moved = map(TRANSITIONS.__getitem__, moves)
        self._votes[tool, slice] += zip(moments, repeat(shard), positions, moved, replaced_days, strict=False)

    def of(self, tool: int, slice: int) -> list[VoteEvent]:
        """In the log's order."""
        return sorted(self._votes[tool, slice])
