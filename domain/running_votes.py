"""Running votes: the standing votes of one tool as events move them, and what they weigh under the rulebook in force."""

from __future__ import annotations

from domain.aged_votes import AgedVotes, Days, Sums
from domain.ages import Ballots, DayVotes, Weighed
from domain.cells import Bounds, Cell, bounds_of
from domain.rulebooks import Rulebook
from domain.words import Choice


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
        self._leapt: list[Cell] = []

    @property
    def days(self) -> Days | None:
        """None where they are not kept."""
        if self._days is not None and self._leapt:
            for cell in self._leapt:
                for day, ship_in, ship_out, skip_in, skip_out in cell.days:
                    votes = self._days.setdefault(day, [0, 0])
                    votes[0] += ship_in - ship_out
                    votes[1] += skip_in - skip_out
            self._leapt.clear()
        return self._days

    @property
    def ballots(self) -> Ballots:
        days = sorted((self.days or {}).items())
        return Ballots(self.ship, self.skip, self.today, tuple(DayVotes(day, *votes) for day, votes in days))

    @property
    def grow_old(self) -> bool:
        """Under the rulebook that they are weighed by."""
        return self._aged is not None

    def follow(self, rulebook: Rulebook) -> None:
        """Weigh them by this one from now on."""
        self._aged = self._aged_under(rulebook)
        self._first_sums = None

    @property
    def sums(self) -> Sums | None:
        """What they weigh under the rulebook that is followed; None where it does not weigh age."""
        return self._aged.sums if self._aged else None

    def count(
        self, choice: Choice | None, replaced: Choice | None, day: int, replaced_day: int | None
    ) -> None:
        self.ship += (choice == "ship") - (replaced == "ship")
        self.skip += (choice == "skip") - (replaced == "skip")
        if self._days is not None:
            self._see(day)
            if choice is not None:
                self._move(day, int(choice == "ship"), int(choice == "skip"))
            if replaced is not None:
                assert replaced_day is not None, "a vote that replaces one says of what day that was"
                self._move(replaced_day, -int(replaced == "ship"), -int(replaced == "skip"))

    def leap(self, cell: Cell) -> None:
        self.ship += cell.ship_in - cell.ship_out
        self.skip += cell.skip_in - cell.skip_out
        if self._days is None or cell.until is None:
            return
        if self._aged and self._aged.has_window:
            self._see(cell.until)
            for day, ship_in, ship_out, skip_in, skip_out in cell.days:
                self._move(day, ship_in - ship_out, skip_in - skip_out)
        else:
            self._leapt.append(cell)
            self.today = cell.until if self.today is None else max(cell.until, self.today)
            if self._aged:
                self._aged.leap(cell)

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

    def weighed(self) -> Weighed:
        if self._aged:
            return self._aged.weighed()
        return Weighed(self.ship + self.skip, self.ship, self.ship + self.skip)

    def bounds(self, cell: Cell) -> Bounds:
        """Where they can be during such a stretch."""
        if self._aged:
            return self._aged.bounds(cell)
        return bounds_of(
            (self.ship - cell.ship_out, self.ship + cell.ship_in),
            (self.skip - cell.skip_out, self.skip + cell.skip_in),
        )

    def bounds_under(self, rulebook: Rulebook, cell: Cell) -> Bounds:
        """The same, were they weighed by another rulebook."""
        other = RunningVotes(self.ship, self.skip, self.today, self.days)
        other.follow(rulebook)
        return other.bounds(cell)

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
