"""Vote deltas by tool and time slice, and the single votes of the slices selected.

The number of a slice is the time since 1970 divided by its length. Postgres runs these SELECTs over ranges of the log, and
DuckDB over segments. Both define ``votes``: the vote events selected, each with the number of its ``slice``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import TypeAlias

from msgspec import Struct

from domain.shared.types import Choice
from domain.timeline.transitions import TRANSITIONS, VoteEvent
from domain.timeline.vote_delta import VoteDelta, VotesByDay

SUM_VOTES = """
SELECT tool, slice,
       count(*) FILTER (WHERE choice = 'ship') AS ship_in, count(*) FILTER (WHERE replaced = 'ship') AS ship_out,
       count(*) FILTER (WHERE choice = 'skip') AS skip_in, count(*) FILTER (WHERE replaced = 'skip') AS skip_out
  FROM votes GROUP BY tool, slice
"""
SUM_ADDED_BY_DAY = """
SELECT tool, slice, array_agg(day), array_agg(ship), array_agg(skip)
  FROM (SELECT tool, slice, CAST(floor(date_part('epoch', recorded_at) / 86400) AS integer) AS day,
               count(*) FILTER (WHERE choice = 'ship') AS ship, count(*) FILTER (WHERE choice = 'skip') AS skip
          FROM votes GROUP BY 1, 2, 3) AS days
 GROUP BY tool, slice
"""
SUM_REMOVED_BY_DAY = """
SELECT tool, slice, array_agg(day), array_agg(ship), array_agg(skip)
  FROM (SELECT tool, slice, CAST(floor(date_part('epoch', replaced_at) / 86400) AS integer) AS day,
               count(*) FILTER (WHERE replaced = 'ship') AS ship, count(*) FILTER (WHERE replaced = 'skip') AS skip
          FROM votes WHERE replaced IS NOT NULL GROUP BY 1, 2, 3) AS days
 GROUP BY tool, slice
"""
# Transitions as numbers, 3 * replaced + choice: arrays of text take twice the time to decode.
READ_VOTES = """
SELECT tool, slice, shard,
       array_agg(CAST(extract(epoch FROM recorded_at) * 1000000 AS bigint)), array_agg(position),
       array_agg(CASE choice WHEN 'ship' THEN 1 WHEN 'skip' THEN 2 ELSE 0 END
                 + 3 * CASE replaced WHEN 'ship' THEN 1 WHEN 'skip' THEN 2 ELSE 0 END),
       array_agg(CAST(floor(date_part('epoch', replaced_at) / 86400) AS integer))
  FROM votes GROUP BY tool, slice, shard
"""

_CHOICES: tuple[Choice | None, ...] = (None, "ship", "skip")
_TRANSITIONS = [TRANSITIONS[choice, replaced] for replaced in _CHOICES for choice in _CHOICES]

Column: TypeAlias = Sequence[int]
# Each statement, and the function that is called with each row of its result.
Queries: TypeAlias = "tuple[tuple[str, Callable[..., None]], ...]"
ToolSlice: TypeAlias = tuple[int, int]  # the numbers of a tool and of a slice

# An ambiguous slice is divided into 2**FINER_BITS slices: its number is the number of each, shifted right by FINER_BITS.
FINER_BITS = 4


class SliceQuery(Struct, frozen=True):
    """Slices of ``seconds``: all, or those within the ``wanted`` slices, each of which is 2**``bits`` times as long."""

    seconds: float
    wanted: tuple[ToolSlice, ...] | None = None
    bits: int = 0

    @property
    def columns(self) -> tuple[list[int], list[int]]:
        """The tools and the slices wanted."""
        wanted = self.wanted or ()
        return [tool for tool, _ in wanted], [number for _, number in wanted]


class VoteDeltas:
    """The deltas of each tool and slice, added up over shards and ranges."""

    def __init__(self) -> None:
        self._deltas = defaultdict[int, dict[int, VoteDelta]](dict)

    def queries(self, *, by_day: bool) -> Queries:
        if by_day:
            return (SUM_ADDED_BY_DAY, self._add_added), (SUM_REMOVED_BY_DAY, self._add_removed)
        return ((SUM_VOTES, self._add_counts),)

    def _add_counts(
        self, tool: int, slice: int, ship_in: int, ship_out: int, skip_in: int, skip_out: int
    ) -> None:
        self._add(tool, slice, VoteDelta(ship_in, ship_out, skip_in, skip_out))

    def _add_added(self, tool: int, slice: int, days: Column, ship: Column, skip: Column) -> None:
        votes = VotesByDay(days, ship, skip)
        self._add(tool, slice, VoteDelta(ship_in=sum(ship), skip_in=sum(skip), until=max(days), added=votes))

    def _add_removed(self, tool: int, slice: int, days: Column, ship: Column, skip: Column) -> None:
        votes = VotesByDay(days, ship, skip)
        self._add(tool, slice, VoteDelta(ship_out=sum(ship), skip_out=sum(skip), removed=votes))

    def _add(self, tool: int, slice: int, delta: VoteDelta) -> None:
        deltas = self._deltas[tool]
        before = deltas.get(slice)
        deltas[slice] = delta if before is None else before + delta

    def by_slice(self, tool: int) -> dict[int, VoteDelta]:
        return self._deltas.get(tool, {})

    def total(self, tool: int) -> VoteDelta:
        """Of all slices, without days."""
        deltas = self.by_slice(tool).values()
        return VoteDelta(
            sum(each.ship_in for each in deltas),
            sum(each.ship_out for each in deltas),
            sum(each.skip_in for each in deltas),
            sum(each.skip_out for each in deltas),
        )


class SliceVotes:
    """The single votes of each tool and slice."""

    def __init__(self) -> None:
        self._votes = defaultdict[ToolSlice, list[VoteEvent]](list)

    @property
    def queries(self) -> Queries:
        return ((READ_VOTES, self._add),)

    def _add(
        self,
        tool: int,
        slice: int,
        shard: int,
        times: Column,
        numbers: Column,
        codes: Column,
        replaced_days: Sequence[int | None],
    ) -> None:
        transitions = map(_TRANSITIONS.__getitem__, codes)
        self._votes[tool, slice] += zip(
            times, repeat(shard), numbers, transitions, replaced_days, strict=False
        )

    def of(self, tool: int, slice: int) -> list[VoteEvent]:
        """In the order of the log."""
        return sorted(self._votes[tool, slice])
