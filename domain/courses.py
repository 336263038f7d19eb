"""Courses: the verdict of one tool along the log, event by event, or in one leap over what cannot flip it.

A label only rises with votes for ship and only falls with votes for skip (labels.py). If it is the same at the best and
at the worst that the votes can have come to in a stretch of events, it was the same all along, in whatever order they came.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from copy import copy
from fractions import Fraction
from functools import lru_cache

from msgspec import Struct

from domain.cells import Cell, bounds_of, label_within
from domain.flips import Flip, Place
from domain.labels import Rule, rule
from domain.rulebooks import Label, Rulebook
from domain.running_votes import RunningVotes
from domain.verdicts import Judgement, counted_takes
from domain.words import Choice


class TakeChanged(Struct, frozen=True):
    """A take was published, or withdrawn where ``judgement`` is None. ``event`` is the type of the event at the place."""

    place: Place
    event: str
    reviewer: str
    judgement: Judgement | None


class Adopted(Struct, frozen=True):
    place: Place
    event: str
    rulebook: Rulebook


Change = TakeChanged | Adopted


class Course:
    """Everything that a verdict depends on, and its label. ``votes`` may be given to it as they stand."""

    def __init__(
        self,
        tool: int,
        rulebook: Rulebook,
        *,
        label: Label = "Unreviewed",
        takes: Mapping[str, Judgement] = {},
        votes: RunningVotes | None = None,
    ) -> None:
        self.tool, self.label, self.takes = tool, label, dict(takes)
        self.votes = votes or RunningVotes(days={} if rulebook.weighs_age else None)
        self._reach = 1
        self._follow(rulebook)
        self._calm_down()

    def copy(self, changes: Sequence[Change] = ()) -> Course:
        """As it is, to be followed through a stretch with these changes, and no others."""
        other = copy(self)
        aged = any(isinstance(each, Adopted) and each.rulebook.weighs_age for each in changes)
        other.votes = self.votes.copy(whole=aged)
        return other

    def vote(
        self,
        place: Place,
        event: str,
        choice: Choice | None,
        replaced: Choice | None,
        day: int = 0,
        replaced_day: int | None = None,
    ) -> Flip | None:
        """The days, as ``domain.ages.day_of`` has them, are those of the cast and of the one it replaces."""
        return self.judge(place, event) if self.count(choice, replaced, day, replaced_day) else None

    def count(
        self, choice: Choice | None, replaced: Choice | None, day: int = 0, replaced_day: int | None = None
    ) -> bool:
        """Move a vote, and say whether that calls for judging."""
        self.votes.count(choice, replaced, day, replaced_day)
        return not self._is_calm(self.votes.ship, self.votes.ship, self.votes.skip, self.votes.skip)

    def judge(self, place: Place, event: str) -> Flip | None:
        before, self.label = self.label, self._rule.label(self.votes.weighed())
        self._calm_down()
        if self.label == before:
            return None
        return Flip(self.tool, before, self.label, place, event, self.rulebook.digest)

    def take(self, place: Place, event: str, reviewer: str, judgement: Judgement | None) -> Flip | None:
        """None for a take that is withdrawn."""
        self.takes = seat(self.takes, reviewer, judgement)
        self._rule = rule_of(self.rulebook, self.takes)
        return self.judge(place, event)

    def adopt(self, place: Place, event: str, rulebook: Rulebook) -> Flip | None:
        self._follow(rulebook)
        return self.judge(place, event)

    def change(self, change: Change) -> Flip | None:
        match change:
            case TakeChanged(place, event, reviewer, judgement):
                return self.take(place, event, reviewer, judgement)
            case Adopted(place, event, rulebook):
                return self.adopt(place, event, rulebook)

    def can_flip(self, cell: Cell) -> bool:
        """Whether, for all that is known, the votes of such a stretch can flip the verdict on the way."""
        ship, skip = self.votes.ship, self.votes.skip
        if self._is_calm(
            ship - cell.ship_out, ship + cell.ship_in, skip - cell.skip_out, skip + cell.skip_in
        ):
            return False
        return label_within(self._rule, self.votes.bounds(cell)) != self.label

    def leap(self, cell: Cell) -> None:
        """Over a stretch of votes that cannot flip the verdict."""
        self.votes.leap(cell)

    def leap_through(self, cell: Cell, changes: Sequence[Change]) -> list[Flip] | None:
        """Over a stretch in which these changes happened too, wherever among the votes; None where it cannot be leapt.

        Each change is judged with the votes anywhere within the bounds of the stretch.
        """
        flips = self._flips_of(cell, changes)
        if flips is not None:
            self.pass_by(cell, changes)
        return flips

    def pass_by(self, cell: Cell, changes: Sequence[Change]) -> None:
        """To the end of a stretch, whatever flipped on the way."""
        for change in changes:
            if isinstance(change, Adopted):
                self._follow(change.rulebook)
            else:
                self.takes = seat(self.takes, change.reviewer, change.judgement)
        self._rule = rule_of(self.rulebook, self.takes) if changes else self._rule
        self.votes.leap(cell)
        self.label = self._rule.label(self.votes.weighed())
        self._calm = _NOWHERE if self.rulebook.weighs_votes else _EVERYWHERE

    def _flips_of(self, cell: Cell, changes: Sequence[Change]) -> list[Flip] | None:
        flips: list[Flip] = []
        book, takes, bounds = self.rulebook, self.takes, self.votes.bounds(cell)
        before = label_within(self._rule, bounds)
        if before != self.label:
            return None
        for change in changes:
            if isinstance(change, Adopted):
                book = change.rulebook
                bounds = self.votes.bounds_under(book, cell)
            else:
                takes = seat(takes, change.reviewer, change.judgement)
            after = label_within(rule_of(book, takes), bounds)
            if after is None:
                return None
            if after != before:
                flips.append(Flip(self.tool, before, after, change.place, change.event, book.digest))
            before = after
        return flips

    def _follow(self, rulebook: Rulebook) -> None:
        self.rulebook = rulebook
        self.votes.follow(rulebook)
        self._rule = rule_of(rulebook, self.takes)

    def _is_calm(self, ship_low: int, ship_high: int, skip_low: int, skip_high: int) -> bool:
        ship, skip = self._calm
        return ship[0] <= ship_low and ship_high <= ship[1] and skip[0] <= skip_low and skip_high <= skip[1]

    def _calm_down(self) -> None:
        """Find how far votes can move from here before the verdict has to be judged again."""
        if not self.rulebook.weighs_votes:
            self._calm = _EVERYWHERE
        elif self.votes.grow_old:
            self._calm = _NOWHERE
        else:
            self._calm = self._calm_around(self.votes.ship, self.votes.skip)

    def _calm_around(self, ship: int, skip: int) -> _Calm:
        reach = 2 * self._reach
        while reach:
            around = (ship - reach, ship + reach), (skip - reach, skip + reach)
            if label_within(self._rule, bounds_of(*around)) == self.label:
                break
            reach //= 2
        self._reach = max(reach, 1)
        return around if reach else ((ship, ship), (skip, skip))


def rule_of(rulebook: Rulebook, takes: Mapping[str, Judgement]) -> Rule:
    panel = rulebook.panel
    if panel.weight == 0:
        return _rule(rulebook, 0, 0)
    counted = counted_takes(list(takes.values()), panel)
    if len(counted) < panel.quorum:
        return _rule(rulebook, 0, 0)
    total = worth = 0
    for weight, each in counted:
        total += weight
        worth += weight * each
    return _rule(rulebook, worth, total)


@lru_cache(10_000)
def _rule(rulebook: Rulebook, worth: int, weight: int) -> Rule:
    """Panels are few and small: of all the states they can be in, some hundreds are met. No weight: it says nothing."""
    return rule(rulebook, Fraction(worth, 100 * weight) if weight else None)


def seat(takes: Mapping[str, Judgement], reviewer: str, judgement: Judgement | None) -> dict[str, Judgement]:
    """The takes after one was published or withdrawn."""
    others = {each: take for each, take in takes.items() if each != reviewer}
    return others if judgement is None else others | {reviewer: judgement}


_Calm = tuple[tuple[int, int], tuple[int, int]]
_EVERYWHERE: _Calm = ((0, sys.maxsize), (0, sys.maxsize))
_NOWHERE: _Calm = ((1, 0), (1, 0))
