"""Aged votes: the weights of one tool's votes by the days of their casts, as running sums."""

from __future__ import annotations

import sys
from operator import mul
from typing import TypeAlias

from msgspec import Struct

from domain.rulebooks.rulebook import Community
from domain.timeline.vote_delta import Bounds, DeltaWeights, VoteDelta, VotesByDay
from domain.verdicts.decay import WeightedVotes, weights

# The votes that count, by the day of their casts: [ship, skip].
Days: TypeAlias = dict[int, list[int]]


class Sums(Struct, frozen=True):
    """The number of votes that count and their weights, on the scale that begins with the day ``first``."""

    first: int
    count: int
    ship: int
    skip: int


class AgedVotes:
    """``domain.verdicts.decay.weigh`` as running sums. The weight of a day never changes, so a vote is added once and removed once.

    The scale begins with the earliest day weighed so far. With the ``sums`` of the same votes under the same rulebook,
    ``days`` need only contain those within the window.
    """

    def __init__(self, community: Community, days: Days, today: int | None, sums: Sums | None = None) -> None:
        self._community, self._days, self._today = community, days, today
        self._since = self._window_start(today)
        self._count = self._ship = self._skip = 0
        if sums is not None:
            self._set_scale(sums.first)
            self._count, self._ship, self._skip = sums.count, sums.ship, sums.skip
            return
        self._set_scale(min(days, default=sys.maxsize if today is None else today))
        for day, (ship, skip) in days.items():
            if self._since is None or day >= self._since:
                self._add_weight(day, ship, skip)

    @property
    def sums(self) -> Sums:
        return Sums(self._first, self._count, self._ship, self._skip)

    @property
    def since(self) -> int | None:
        """The first day of the window; None without a window or without votes."""
        return self._since

    @property
    def has_window(self) -> bool:
        return self._community.window_days is not None

    def weighed(self) -> WeightedVotes:
        return WeightedVotes(self._count, self._ship, self._ship + self._skip, self._vote_weight_today)

    def advance_to(self, day: int) -> None:
        """Set today to this day, and remove the votes that leave the window. An earlier day changes nothing."""
        if self._today is not None and day <= self._today:
            return
        self._extend_scale(day)
        self._today, before = day, self._since
        self._since = self._window_start(day)
        if before is not None and self._since is not None:
            for old in self._days_between(before, self._since):
                ship, skip = self._days[old]
                self._add_weight(old, -ship, -skip)
        self._vote_weight_today = self._weights[day]

    def add(self, day: int, ship: int, skip: int) -> None:
        """Add votes cast on this day; negative numbers remove them."""
        self._extend_scale(day)
        votes = self._days.get(day)
        if votes is None:
            votes = self._days[day] = [0, 0]
        votes[0] += ship
        votes[1] += skip
        if self._since is None or day >= self._since:
            self._add_weight(day, ship, skip)

    def weigh(self, delta: VoteDelta) -> DeltaWeights:
        for days in (delta.added.days, delta.removed.days):
            if days:
                self._extend_scale(min(days))
        ship_in, skip_in = self._weigh_days(delta.added)
        ship_out, skip_out = self._weigh_days(delta.removed)
        return DeltaWeights(ship_in, ship_out, skip_in, skip_out)

    def fast_forward(self, delta: VoteDelta, weights: DeltaWeights) -> None:
        """Advance past a delta, without a window. Only the sums are updated: the caller updates ``days``."""
        assert delta.until is not None
        self.advance_to(delta.until)
        self._count += delta.ship_in - delta.ship_out + delta.skip_in - delta.skip_out
        self._ship += weights.ship_in - weights.ship_out
        self._skip += weights.skip_in - weights.skip_out

    def bounds(self, delta: VoteDelta, weights: DeltaWeights) -> Bounds:
        """The bounds of the sums while the events of a delta happen, in any order."""
        weight_today = self._vote_weight_today
        count = self._count - delta.ship_out - delta.skip_out
        ship_low, skip_low = self._ship - weights.ship_out, self._skip - weights.skip_out
        for day in self._days_leaving_window(delta.until):
            weight, (ship, skip) = self._weights[day], self._days[day]
            ship_low, skip_low, count = (
                ship_low - weight * ship,
                skip_low - weight * skip,
                count - ship - skip,
            )
        weight_at_end = weight_today if delta.until is None else max(weight_today, self._weights[delta.until])
        return Bounds(
            (max(count, 0), self._count + delta.ship_in + delta.skip_in),
            (max(ship_low, 0), self._ship + weights.ship_in),
            (max(skip_low, 0), self._skip + weights.skip_in),
            (weight_today, weight_at_end),
        )

    def copy(self, days: Days) -> AgedVotes:
        """The same sums, with ``days`` that the copy may change."""
        return AgedVotes(self._community, days, self._today, self.sums)

    def _weigh_days(self, votes: VotesByDay) -> tuple[int, int]:
        weights = [self._weights[day] for day in votes.days]
        return sum(map(mul, weights, votes.ship)), sum(map(mul, weights, votes.skip))

    def _days_leaving_window(self, until: int | None) -> list[int]:
        if until is None or self._since is None:
            return []
        return self._days_between(self._since, self._window_start(until) or 0)

    def _days_between(self, start: int, end: int) -> list[int]:
        """Days with votes, from ``start`` up to but not including ``end``."""
        if end - start < len(self._days):
            return [day for day in range(start, end) if day in self._days]
        return [day for day in self._days if start <= day < end]

    def _window_start(self, today: int | None) -> int | None:
        window = self._community.window_days
        return None if window is None or today is None else today - window + 1

    def _add_weight(self, day: int, ship: int, skip: int) -> None:
        weight = self._weights[day]
        self._count += ship + skip
        self._ship += weight * ship
        self._skip += weight * skip

    def _extend_scale(self, day: int) -> None:
        """Rescale the sums if the day lies before the scale. Two scales differ by a power of two, so this is exact."""
        if day >= self._first:
            return
        first, before = self._first, self._weights
        self._set_scale(day)
        if self._ship or self._skip:
            ratio = self._weights[first] // before[first]
            self._ship *= ratio
            self._skip *= ratio

    def _set_scale(self, first: int) -> None:
        """Weights are small near the day ``first``. Only ratios of sums on one scale are meaningful."""
        self._first, self._weights = first, weights(self._community, first)
        self._vote_weight_today = self._weights[first if self._today is None else self._today]
