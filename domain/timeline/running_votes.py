"""Running votes: the votes of one tool up to a point in the log, and their weights under the rulebook in force."""

from __future__ import annotations

import msgspec

from domain.rulebooks.rulebook import Community, Rulebook
from domain.timeline.aged_votes import AgedVotes, Days, Sums
from domain.timeline.transitions import Transition
from domain.timeline.vote_delta import Bounds, DeltaWeights, VoteDelta, bounds_of
from domain.verdicts.decay import WeightedDays, WeightedVotes, weigh_newest_days


class RunningVotes:
    """``days`` may be None if neither the rulebook nor one adopted later weighs age.

    ``sums`` are those under the first rulebook passed to ``follow``; ``days`` then need only cover its window.
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
        self._pending_deltas: list[VoteDelta] = []

    @property
    def days(self) -> Days | None:
        if self._days is not None and self._pending_deltas:
            for delta in self._pending_deltas:
                _add_to_days(self._days, delta)
            self._pending_deltas.clear()
        return self._days

    def follow(self, rulebook: Rulebook) -> None:
        """Weigh the votes under this rulebook from now on."""
        self._aged = self._aged_under(rulebook)
        self._first_sums = None

    def weighed_days(self, community: Community) -> WeightedDays:
        """Under the community rules of any rulebook."""
        if self._days is None or not community.weighs_age:
            return WeightedDays([1], [self.ship], [self.skip])
        days = self.days or {}
        newest = sorted(days, reverse=True)
        ship, skip = [days[day][0] for day in newest], [days[day][1] for day in newest]
        return weigh_newest_days(newest, ship, skip, self.today, community)

    @property
    def sums(self) -> Sums | None:
        """Under the rulebook in force; None if it does not weigh age."""
        return self._aged.sums if self._aged else None

    def count(self, transition: Transition, day: int, replaced_day: int | None) -> None:
        """``day`` is that of the event, ``replaced_day`` that of the cast it replaces or retracts."""
        self.ship += transition.ship
        self.skip += transition.skip
        if self._days is not None:
            self._advance_to(day)
            if transition.choice is not None:
                self._add(day, int(transition.choice == "ship"), int(transition.choice == "skip"))
            if transition.replaced is not None:
                assert replaced_day is not None, "an event that replaces a cast has the day of that cast"
                self._add(
                    replaced_day, -int(transition.replaced == "ship"), -int(transition.replaced == "skip")
                )

    def weigh(self, delta: VoteDelta) -> DeltaWeights | None:
        """For ``bounds`` and ``fast_forward``. None if the rulebook in force does not weigh age."""
        return self._aged.weigh(delta) if self._aged else None

    def fast_forward(self, delta: VoteDelta, weights: DeltaWeights | None) -> None:
        self.ship += delta.ship_in - delta.ship_out
        self.skip += delta.skip_in - delta.skip_out
        if self._days is None or delta.until is None:
            return
        if self._aged and self._aged.has_window:
            self._advance_to(delta.until)
            for day, ship, skip in zip(*msgspec.structs.astuple(delta.added), strict=True):
                self._add(day, ship, skip)
            for day, ship, skip in zip(*msgspec.structs.astuple(delta.removed), strict=True):
                self._add(day, -ship, -skip)
        else:
            self._pending_deltas.append(delta)
            self.today = delta.until if self.today is None else max(delta.until, self.today)
            if self._aged and weights:
                self._aged.fast_forward(delta, weights)

    def copy(self, *, all_days: bool) -> RunningVotes:
        """An independent copy. Without ``all_days`` it cannot follow another rulebook that weighs age."""
        days = None if self._days is None else self._copy_days(all_days)
        other = RunningVotes(self.ship, self.skip, self.today, days)
        if self._aged and days is not None:
            other._aged = self._aged.copy(days)
        return other

    def _copy_days(self, all_days: bool) -> Days:
        """All, or those within the window."""
        since = self._aged.since if self._aged else None
        if not all_days and since is None:
            return {}
        days = self.days or {}
        return {day: [*votes] for day, votes in days.items() if all_days or since is None or day >= since}

    def weighed(self) -> WeightedVotes:
        if self._aged:
            return self._aged.weighed()
        return WeightedVotes(self.ship + self.skip, self.ship, self.ship + self.skip)

    def bounds(self, delta: VoteDelta, weights: DeltaWeights | None) -> Bounds:
        """The bounds of the votes while the events of a delta happen, in any order."""
        if self._aged and weights:
            return self._aged.bounds(delta, weights)
        return bounds_of(
            (self.ship - delta.ship_out, self.ship + delta.ship_in),
            (self.skip - delta.skip_out, self.skip + delta.skip_in),
        )

    def bounds_under(self, rulebook: Rulebook, delta: VoteDelta) -> Bounds:
        """``bounds`` under another rulebook."""
        other = RunningVotes(self.ship, self.skip, self.today, self.days)
        other.follow(rulebook)
        return other.bounds(delta, other.weigh(delta))

    def _aged_under(self, rulebook: Rulebook) -> AgedVotes | None:
        if not rulebook.weighs_age:
            return None
        assert self.days is not None, "a rulebook that weighs age needs the days of the votes"
        return AgedVotes(rulebook.community, self.days, self.today, self._first_sums)

    def _advance_to(self, day: int) -> None:
        self.today = day if self.today is None else max(day, self.today)
        if self._aged:
            self._aged.advance_to(day)

    def _add(self, day: int, ship: int, skip: int) -> None:
        if self._aged:
            self._aged.add(day, ship, skip)
        elif self._days is not None:
            votes = self._days.setdefault(day, [0, 0])
            votes[0] += ship
            votes[1] += skip


def _add_to_days(days: Days, delta: VoteDelta) -> None:
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
