"""Running votes: the standing votes of one tool as events move them, and what they weigh under the rulebook in force."""

from __future__ import annotations

import msgspec

from domain.rulebooks.rulebook import Community, Rulebook
from domain.timeline.aged_votes import AgedVotes, Days, Sums
from domain.timeline.transitions import Transition
from domain.timeline.vote_delta import Bounds, VoteDelta, bounds_of
from domain.verdicts.decay import WeightedDays, WeightedVotes, weigh_newest_days


class RunningVotes:
    """``days`` are kept where a rulebook weighs age, or one that is adopted later does; else they may be None.

    With ``sums``, by the rulebook that is followed first, they need only be those within its window.
    """

    def __init__(
        self,
        ship: int = 0,
        skip: int = 0,
        today: int | None = None,
        days: Days | None = None,
        sums: Sums | None = None,
    ) -> None:
        self.ship, self.skip, self.today, self._days = ship, skip, today, days
        self._first_sums = sums
        self._aged: AgedVotes | None = None
        self._skipped: list[VoteDelta] = []

    @property
    def days(self) -> Days | None:
        """None where they are not kept."""
        if self._days is not None and self._skipped:
            for delta in self._skipped:
                _put_in(self._days, delta)
            self._skipped.clear()
        return self._days

    def follow(self, rulebook: Rulebook) -> None:
        """Weigh them by this one from now on."""
        self._aged = self._aged_under(rulebook)
        self._first_sums = None

    def weighed_days(self, community: Community) -> WeightedDays:
        """By any rulebook's community."""
        if self._days is None or not community.weighs_age:
            return WeightedDays([1], [self.ship], [self.skip])
        days = self.days or {}
        newest = sorted(days, reverse=True)
        ship, skip = [days[day][0] for day in newest], [days[day][1] for day in newest]
        return weigh_newest_days(newest, ship, skip, self.today, community)

    @property
    def sums(self) -> Sums | None:
        """What they weigh under the rulebook that is followed; None where it does not weigh age."""
        return self._aged.sums if self._aged else None

    def count(self, moved: Transition, day: int, replaced_day: int | None) -> None:
        """The days are those of the cast and of the one it replaces."""
        self.ship += moved.ship
        self.skip += moved.skip
        if self._days is not None:
            self._see(day)
            if moved.choice is not None:
                self._move(day, int(moved.choice == "ship"), int(moved.choice == "skip"))
            if moved.replaced is not None:
                assert replaced_day is not None, "a vote that replaces one says of what day that was"
                self._move(replaced_day, -int(moved.replaced == "ship"), -int(moved.replaced == "skip"))

    def fast_forward(self, delta: VoteDelta) -> None:
        self.ship += delta.ship_in - delta.ship_out
        self.skip += delta.skip_in - delta.skip_out
        if self._days is None or delta.until is None:
            return
        if self._aged and self._aged.has_window:
            self._see(delta.until)
            for day, ship, skip in zip(*msgspec.structs.astuple(delta.added), strict=True):
                self._move(day, ship, skip)
            for day, ship, skip in zip(*msgspec.structs.astuple(delta.removed), strict=True):
                self._move(day, -ship, -skip)
        else:
            self._skipped.append(delta)
            self.today = delta.until if self.today is None else max(delta.until, self.today)
            if self._aged:
                self._aged.fast_forward(delta)

    def copy(self, *, whole: bool) -> RunningVotes:
        """As they are. Only if it is to be ``whole`` can the copy be weighed by another rulebook that weighs age."""
        days = None if self._days is None else self._recent(whole)
        other = RunningVotes(self.ship, self.skip, self.today, days)
        if self._aged and days is not None:
            other._aged = self._aged.copy(days)
        return other

    def _recent(self, whole: bool) -> Days:
        since = self._aged.since if self._aged else None
        if not whole and since is None:
            return {}
        days = self.days or {}
        return {day: [*votes] for day, votes in days.items() if whole or since is None or day >= since}

    def weighed(self) -> WeightedVotes:
        if self._aged:
            return self._aged.weighed()
        return WeightedVotes(self.ship + self.skip, self.ship, self.ship + self.skip)

    def bounds(self, delta: VoteDelta) -> Bounds:
        """Where they can be during such a stretch."""
        if self._aged:
            return self._aged.bounds(delta)
        return bounds_of(
            (self.ship - delta.ship_out, self.ship + delta.ship_in),
            (self.skip - delta.skip_out, self.skip + delta.skip_in),
        )

    def bounds_under(self, rulebook: Rulebook, delta: VoteDelta) -> Bounds:
        """The same, were they weighed by another rulebook."""
        other = RunningVotes(self.ship, self.skip, self.today, self.days)
        other.follow(rulebook)
        return other.bounds(delta)

    def _aged_under(self, rulebook: Rulebook) -> AgedVotes | None:
        if not rulebook.weighs_age:
            return None
        assert self.days is not None, "a rulebook that weighs age needs the days of the votes"
        return AgedVotes(rulebook.community, self.days, self.today, self._first_sums)

    def _see(self, day: int) -> None:
        self.today = day if self.today is None else max(day, self.today)
        if self._aged:
            self._aged.see(day)

    def _move(self, day: int, ship: int, skip: int) -> None:
        if self._aged:
            self._aged.move(day, ship, skip)
        elif self._days is not None:
            votes = self._days.setdefault(day, [0, 0])
            votes[0] += ship
            votes[1] += skip


def _put_in(days: Days, delta: VoteDelta) -> None:
    for day, ship, skip in zip(*msgspec.structs.astuple(delta.added), strict=True):
        if day in days:
            votes = days[day]
            votes[0] += ship
            votes[1] += skip
        else:
            days[day] = [ship, skip]
    for day, ship, skip in zip(*msgspec.structs.astuple(delta.removed), strict=True):
        votes = days.setdefault(day, [0, 0])
        votes[0] -= ship
        votes[1] -= skip
