"""Aged votes: running sums of what the votes of one tool weigh by their days, kept up as votes come, go and grow old."""

from __future__ import annotations

import sys
from typing import TypeAlias

from msgspec import Struct

from domain.ages import DayVotes, Weighed, weights
from domain.cells import Bounds, DayMoves
from domain.rulebooks import Community

# Standing votes by day of their casts: [ship, skip].
Days: TypeAlias = dict[int, list[int]]


class Sums(Struct, frozen=True):
    """How many votes count and what they weigh, on a scale on which the day ``first`` weighs little."""

    first: int
    count: int
    ship: int
    skip: int


class AgedVotes:
    """``domain.ages.weigh`` as sums that move. Weights never change, so votes are added once and taken out once.

    With the ``sums`` of the same votes by the same rulebook, ``days`` need only be those within the window.
    """

    def __init__(self, community: Community, days: Days, today: int | None, sums: Sums | None = None) -> None:
        self._community, self._days, self._today = community, days, today
        self._since: int | None = None
        if sums is None:
            self._sum_up(min(days, default=sys.maxsize if today is None else today))
        else:
            self._scale_from(sums.first)
            self._count, self._ship, self._skip = sums.count, sums.ship, sums.skip

    @property
    def sums(self) -> Sums:
        return Sums(self._first, self._count, self._ship, self._skip)

    def weighed(self) -> Weighed:
        return Weighed(self._count, self._ship, self._ship + self._skip, self._unit)

    def see(self, day: int) -> None:
        """It is this day now. What falls out of the window is counted no more."""
        if self._today is not None and day <= self._today:
            return
        self._begin_by(day)
        self._today, before = day, self._since
        self._since = self._window_at(day)
        if before is not None and self._since is not None:
            for old in self._old(before, self._since):
                ship, skip = self._days[old]
                self._add(old, -ship, -skip)
        self._unit = self._weight(day)

    def move(self, day: int, ship: int, skip: int) -> None:
        """So many more votes of this day stand, or fewer."""
        self._begin_by(day)
        votes = self._days.get(day)
        if votes is None:
            votes = self._days[day] = [0, 0]
        votes[0] += ship
        votes[1] += skip
        if self._since is None or day >= self._since:
            self._add(day, ship, skip)

    def bounds(self, until: int | None, days: tuple[DayMoves, ...]) -> Bounds:
        """Where the sums can be during a stretch that ends on the day ``until`` and moves these votes, in any order."""
        self._begin_by(min((each[0] for each in days), default=sys.maxsize))
        ship_low, ship_high, skip_low, skip_high = self._ship, self._ship, self._skip, self._skip
        low = high = self._count
        for day, ship_in, ship_out, skip_in, skip_out in days:
            weight = self._weight(day)
            ship_low, ship_high = ship_low - weight * ship_out, ship_high + weight * ship_in
            skip_low, skip_high = skip_low - weight * skip_out, skip_high + weight * skip_in
            low, high = low - ship_out - skip_out, high + ship_in + skip_in
        for day in self._leaving(until):
            weight, (ship, skip) = self._weight(day), self._days[day]
            ship_low, skip_low, low = ship_low - weight * ship, skip_low - weight * skip, low - ship - skip
        end = self._unit if until is None else max(self._unit, self._weight(until))
        return Bounds(
            (max(low, 0), high),
            (max(ship_low, 0), ship_high),
            (max(skip_low, 0), skip_high),
            (self._unit, end),
        )

    def _leaving(self, until: int | None) -> list[int]:
        if until is None or self._since is None:
            return []
        return self._old(self._since, self._window_at(until) or 0)

    def _old(self, since: int, before: int) -> list[int]:
        """The days that are left behind when the window moves."""
        if before - since < len(self._days):
            return [day for day in range(since, before) if day in self._days]
        return [day for day in self._days if since <= day < before]

    def _window_at(self, today: int | None) -> int | None:
        window = self._community.window_days
        return None if window is None or today is None else today - window + 1

    def _add(self, day: int, ship: int, skip: int) -> None:
        weight = self._weight(day)
        self._count += ship + skip
        self._ship += weight * ship
        self._skip += weight * skip

    def _weight(self, day: int) -> int:
        found = self._weights.get(day)
        if found is None:
            found = self._weights[day] = self._scale(day)
        return found

    def _begin_by(self, day: int) -> None:
        if day < self._first:
            self._sum_up(day)

    def _sum_up(self, first: int) -> None:
        self._scale_from(first)
        self._count = self._ship = self._skip = 0
        for day, (ship, skip) in self._days.items():
            if self._since is None or day >= self._since:
                self._add(day, ship, skip)

    def _scale_from(self, first: int) -> None:
        """The day ``first`` weighs little: only ratios of sums mean anything."""
        self._first, self._weights = first, dict[int, int]()
        self._scale = weights([DayVotes(first, 0, 0)], None, self._community)
        self._since = self._window_at(self._today)
        self._unit = self._weight(first if self._today is None else self._today)
