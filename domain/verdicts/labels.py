"""Labels: what panel and community together amount to under a rulebook. Exact, in whole numbers and ratios.

While the day stands from which ages are counted, a label only rises with more votes for ship, Skip to Split to Ship,
and only falls with more for skip: margins and the search for flips rest on it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Literal, TypeAlias

from msgspec import Struct

from domain.rulebooks.rulebook import Label, Rulebook, Threshold
from domain.verdicts.decay import WeightedVotes

DecidedBy = Literal["panel", "community", "panel and community", "veto", "nothing"]

# Whether the share of ``side`` in ``total`` passes a bar, where a vote cast today weighs ``unit``: (side, total, unit).
Test: TypeAlias = Callable[[int, int, int], bool]

_Z_SCALE = 10_000
NO_VOTES = WeightedVotes(0, 0, 0)


class Rule(Struct, frozen=True, dict=True):
    """A rulebook for one state of the panel: the bars that the community's own share has to pass.

    ``panel`` is the panel's share, None where it says nothing; ``panel_label`` is the label while the community does not weigh.
    """

    book: Rulebook
    panel: Fraction | None
    panel_label: Label
    ship: Threshold
    skip: Threshold

    def has_quorum(self, votes: WeightedVotes) -> bool:
        """Whether there are enough votes, and a rule for them."""
        return votes.count >= self._enough and votes.total > 0

    @cached_property
    def _enough(self) -> int:
        return self.book.community.minimum if self.book.weighs_votes else sys.maxsize

    @cached_property
    def _tests(self) -> tuple[Test, Test] | None:
        """Whether the community's share passes the bars; None where it has no weight."""
        if not self.book.community.weight:
            return None
        if self.book.community.bound == "share":
            return share_test(self.ship), share_test(self.skip)
        return interval_test(self.ship, self.book), interval_test(self.skip, self.book)

    @cached_property
    def _veto(self) -> Test | None:
        bar = self.book.veto_threshold
        return None if bar is None else interval_test(bar, self.book)

    def label(self, votes: WeightedVotes) -> Label:
        if not self.has_quorum(votes):
            return self.panel_label
        return self.label_of(votes.ship, votes.total, votes.vote_weight_today)

    def label_of(self, ship: int, total: int, vote_weight_today: int) -> Label:
        """The label of votes that are enough; they weigh ``total``, which is not 0."""
        label = self._before_veto(ship, total, vote_weight_today)
        if label == "Ship" and (veto := self._veto) and veto(total - ship, total, vote_weight_today):
            return "Split"
        return label

    def decide(self, votes: WeightedVotes) -> tuple[Label, DecidedBy]:
        """The label, and which part of the rulebook it rests on."""
        label, by = self.label(votes), self._of_panel()
        if not self.has_quorum(votes):
            return label, by
        if label == "Split" and self._before_veto(votes.ship, votes.total, votes.vote_weight_today) == "Ship":
            return label, "veto"
        if self._tests is None:
            return label, by
        return label, "panel and community" if by == "panel" else "community"

    def _of_panel(self) -> DecidedBy:
        return "nothing" if self.panel_label == "Unreviewed" else "panel"

    def _before_veto(self, ship: int, total: int, vote_weight_today: int) -> Label:
        if (tests := self._tests) is None:
            return self.panel_label
        if tests[0](ship, total, vote_weight_today):
            return "Ship"
        if tests[1](total - ship, total, vote_weight_today):
            return "Skip"
        return self.book.between


def rule(book: Rulebook, panel: Fraction | None) -> Rule:
    return rule_at(book, *((0, 0) if panel is None else panel.as_integer_ratio()))


@lru_cache(10_000)
def rule_at(book: Rulebook, worth: int, most: int) -> Rule:
    """Where the panel's takes are worth so much, of so much at most; 0 of 0 where it says nothing.

    Panels are few and small: of all the states they can be in, some hundreds are met.
    """
    panel = Fraction(worth, most) if most else None
    if panel is None or book.panel.weight == 0:
        return Rule(book, panel, "Unreviewed", book.ship_threshold, book.skip_threshold)
    if book.ship_threshold.passes(panel):
        panel_label: Label = "Ship"
    else:
        panel_label = "Skip" if book.skip_threshold.passes(1 - panel) else book.between
    return Rule(
        book,
        panel,
        panel_label,
        _left(book, book.ship_threshold, panel),
        _left(book, book.skip_threshold, 1 - panel),
    )


def _left(book: Rulebook, bar: Threshold, panel: Fraction) -> Threshold:
    """What is left for the community to pass, once the panel has given its part."""
    panel_weight, weight = book.panel.weight, book.community.weight
    if not weight:
        return bar
    return Threshold((bar.at * (panel_weight + weight) - panel_weight * panel) / weight, bar.inclusive)


def share_test(bar: Threshold) -> Test:
    """Of the share itself."""
    a, whole = bar.parts
    if bar.inclusive:
        return lambda side, total, _: side * whole >= a * total
    return lambda side, total, _: side * whole > a * total


def interval_test(bar: Threshold, book: Rulebook) -> Test:
    """Of the lower end of the Wilson interval of this side, without taking a root.

    The end lies at the share ``a`` that a score test just does not reject (Wilson 1927), so it lies above ``a`` when
    p > a and (p - a)^2 > z^2 a (1 - a) / n. Here p = side/total and n = total/unit.
    """
    a, whole = bar.parts
    if a < 0 or (a == 0 and bar.inclusive):
        return lambda _side, _total, _vote_weight_today: True
    if a == 0:
        return lambda side, _total, _vote_weight_today: side > 0
    if a >= whole:
        return lambda _side, _total, _vote_weight_today: False
    z = book.z_ten_thousandths
    spread, inclusive = z * z * a * (whole - a), bar.inclusive

    def passes(side: int, total: int, vote_weight_today: int) -> bool:
        over = side * whole - a * total
        if over <= 0:
            return False
        left, right = over * over * _Z_SCALE * _Z_SCALE, spread * total * vote_weight_today
        return left > right or (inclusive and left == right)

    return passes
