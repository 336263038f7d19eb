"""Aged votes: running sums of what the votes of one tool weigh by their days, kept up as votes come, go and grow old."""

from __future__ import annotations

import sys
from operator import mul
from typing import TypeAlias

from msgspec import Struct

from domain.rulebooks.rulebook import Community
from domain.timeline.vote_delta import Bounds, VoteDelta, VotesByDay
from domain.verdicts.decay import WeightedVotes, weights

# Standing votes by day of their casts: [ship, skip].
Days: TypeAlias = dict[int, list[int]]


class Sums(Struct, frozen=True):
    """How many votes count and what they weigh, on a scale on which the day ``first`` weighs little."""

    first: int
    count: int
    ship: int
    skip: int


class AgedVotes:
    """``domain.verdicts.decay.weigh`` as sums that move. Weights never change, so votes are added once and taken out once.

    With the ``sums`` of the same votes by the same rulebook, ``days`` need only be those within the window.
    """

    def __init__(self, community: Community, days: Days, today: int | None, sums: Sums | None = None) -> None:
        self._community, self._days, self._today = community, days, today
        self._since: int | None = None
        self._weighed_last: tuple[VoteDelta, tuple[int, int, int, int]] | None = None
        if sums is None:
            self._sum_up(min(days, default=sys.maxsize if today is None else today))
        else:
            self._scale_from(sums.first)
            self._count, self._ship, self._skip = sums.count, sums.ship, sums.skip

    @property
    def sums(self) -> Sums:
        return Sums(self._first, self._count, self._ship, self._skip)

    @property
    def since(self) -> int | None:
        """The first day that counts, where there is a window."""
        return self._since

    @property
    def has_window(self) -> bool:
        return self._community.window_days is not None

    def weighed(self) -> WeightedVotes:
        return WeightedVotes(self._count, self._ship, self._ship + self._skip, self._vote_weight_today)

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
        self._vote_weight_today = self._weights[day]

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

    def fast_forward(self, delta: VoteDelta) -> None:
        """Over a stretch; what it does to each day is for who keeps the days."""
        assert delta.until is not None
        sums = self._weigh_moves(delta)
        self.see(delta.until)
        self._count += delta.ship_in - delta.ship_out + delta.skip_in - delta.skip_out
        self._ship += sums[0] - sums[2]
        self._skip += sums[1] - sums[3]

    def bounds(self, delta: VoteDelta) -> Bounds:
        """Where the sums can be during such a stretch."""
        ship_in, skip_in, ship_out, skip_out = self._weigh_moves(delta)
        low = self._count - delta.ship_out - delta.skip_out
        ship_low, skip_low = self._ship - ship_out, self._skip - skip_out
        for day in self._leaving(delta.until):
            weight, (ship, skip) = self._weights[day], self._days[day]
            ship_low, skip_low, low = ship_low - weight * ship, skip_low - weight * skip, low - ship - skip
        end = (
            self._vote_weight_today
            if delta.until is None
            else max(self._vote_weight_today, self._weights[delta.until])
        )
        return Bounds(
            (max(low, 0), self._count + delta.ship_in + delta.skip_in),
            (max(ship_low, 0), self._ship + ship_in),
            (max(skip_low, 0), self._skip + skip_in),
            (self._vote_weight_today, end),
        )

    def copy(self, days: Days) -> AgedVotes:
        """As they are, with these days of their own."""
        return AgedVotes(self._community, days, self._today, self.sums)

    def _weigh_moves(self, delta: VoteDelta) -> tuple[int, int, int, int]:
        if self._weighed_last is None or self._weighed_last[0] is not delta:
            first = min([*delta.added.days, *delta.removed.days], default=self._first)
            if first < self._weights.first_day:
                self._sum_up(first)
            self._weighed_last = delta, (*self._weigh(delta.added), *self._weigh(delta.removed))
        return self._weighed_last[1]

    def _weigh(self, votes: VotesByDay) -> tuple[int, int]:
        weights = [self._weights[day] for day in votes.days]
        return sum(map(mul, weights, votes.ship)), sum(map(mul, weights, votes.skip))

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
        weight = self._weights[day]
        self._count += ship + skip
        self._ship += weight * ship
        self._skip += weight * skip

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
        self._first, self._weights, self._weighed_last = first, weights(self._community, first), None
        self._since = self._window_at(self._today)
        self._vote_weight_today = self._weights[first if self._today is None else self._today]
