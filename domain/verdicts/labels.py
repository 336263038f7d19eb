"""Labels: Ship, Skip, Split or Unreviewed, by panel and community under a rulebook. Exact, in whole numbers and ratios.

Labels are monotone: as long as the day from which ages are counted stays the same, more votes for ship only raise a
label (Skip, Split, Ship) and more for skip only lower it. Margins and the search for flips rely on this.
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

# Whether the share of one side passes a threshold: (side, total, vote_weight_today).
ThresholdTest: TypeAlias = Callable[[int, int, int], bool]

_Z_SCALE = 10_000


class Rule(Struct, frozen=True, dict=True):
    """A rulebook for one state of the panel, reduced to the thresholds ``ship`` and ``skip`` of the community's own share.

    ``panel`` is the panel's share, None below its quorum; ``panel_label`` is the label while votes do not count.
    """

    book: Rulebook
    panel: Fraction | None
    panel_label: Label
    ship: Threshold
    skip: Threshold

    def has_quorum(self, votes: WeightedVotes) -> bool:
        """Whether the rulebook weighs votes, and there are enough of them."""
        return votes.count >= self._quorum and votes.total > 0

    @cached_property
    def _quorum(self) -> int:
        return self.book.community.minimum if self.book.weighs_votes else sys.maxsize

    @cached_property
    def _tests(self) -> tuple[ThresholdTest, ThresholdTest] | None:
        """For Ship and Skip; None where the community has no weight."""
        if not self.book.community.weight:
            return None
        if self.book.community.bound == "share":
            return share_test(self.ship), share_test(self.skip)
        return interval_test(self.ship, self.book), interval_test(self.skip, self.book)

    @cached_property
    def _veto(self) -> ThresholdTest | None:
        threshold = self.book.veto_threshold
        return None if threshold is None else interval_test(threshold, self.book)

    def label(self, votes: WeightedVotes) -> Label:
        if not self.has_quorum(votes):
            return self.panel_label
        return self.label_of(votes.ship, votes.total, votes.vote_weight_today)

    def label_of(self, ship: int, total: int, vote_weight_today: int) -> Label:
        """For votes with a quorum; ``ship`` and ``total`` are weights, and ``total`` is above 0."""
        label = self._before_veto(ship, total, vote_weight_today)
        if label == "Ship" and (veto := self._veto) and veto(total - ship, total, vote_weight_today):
            return "Split"
        return label

    def decide(self, votes: WeightedVotes) -> tuple[Label, DecidedBy]:
        label, by = self.label(votes), self._decided_without_votes()
        if not self.has_quorum(votes):
            return label, by
        if label == "Split" and self._before_veto(votes.ship, votes.total, votes.vote_weight_today) == "Ship":
            return label, "veto"
        if self._tests is None:
            return label, by
        return label, "panel and community" if by == "panel" else "community"

    def _decided_without_votes(self) -> DecidedBy:
        return "nothing" if self.panel_label == "Unreviewed" else "panel"

    def _before_veto(self, ship: int, total: int, vote_weight_today: int) -> Label:
        if (tests := self._tests) is None:
            return self.panel_label
        if tests[0](ship, total, vote_weight_today):
            return "Ship"
        if tests[1](total - ship, total, vote_weight_today):
            return "Skip"
        return self.book.between


def rule_for(book: Rulebook, panel: Fraction | None) -> Rule:
    return rule_at(book, *((0, 0) if panel is None else panel.as_integer_ratio()))


@lru_cache(10_000)
def rule_at(book: Rulebook, worth: int, worth_max: int) -> Rule:
    """For a panel with the share worth/worth_max; both are 0 for a panel below its quorum.

    Panels are few and small, so the cache holds the few hundred states that occur.
    """
    panel = Fraction(worth, worth_max) if worth_max else None
    ship, skip = book.ship_threshold, book.skip_threshold
    if panel is None or book.panel.weight == 0:
        return Rule(book, panel, "Unreviewed", ship, skip)
    if ship.passes(panel):
        panel_label: Label = "Ship"
    else:
        panel_label = "Skip" if skip.passes(1 - panel) else book.between
    return Rule(
        book,
        panel,
        panel_label,
        _community_threshold(book, ship, panel),
        _community_threshold(book, skip, 1 - panel),
    )


def _community_threshold(book: Rulebook, combined: Threshold, panel: Fraction) -> Threshold:
    """The community's share at which the combined share of both meets its threshold."""
    panel_weight, weight = book.panel.weight, book.community.weight
    if not weight:
        return combined
    at = (combined.at * (panel_weight + weight) - panel_weight * panel) / weight
    return Threshold(at, combined.inclusive)


def share_test(threshold: Threshold) -> ThresholdTest:
    """Whether the share side/total passes."""
    numerator, denominator = threshold.ratio
    if threshold.inclusive:
        return lambda side, total, _: side * denominator >= numerator * total
    return lambda side, total, _: side * denominator > numerator * total


def interval_test(threshold: Threshold, book: Rulebook) -> ThresholdTest:
    """Whether the lower end of the share's Wilson interval passes, without taking a root.

    The lower end is the share ``a`` that a score test only just does not reject (Wilson 1927), so it lies above ``a`` when
    p > a and (p - a)^2 > z^2 a (1 - a) / n, where p = side/total and n = total/vote_weight_today.
    """
    a, whole = threshold.ratio
    if a < 0 or (a == 0 and threshold.inclusive):
        return lambda _side, _total, _vote_weight_today: True
    if a == 0:
        return lambda side, _total, _vote_weight_today: side > 0
    if a >= whole:
        return lambda _side, _total, _vote_weight_today: False
    z = book.z_ten_thousandths
    spread, inclusive = z * z * a * (whole - a), threshold.inclusive

    def passes(side: int, total: int, vote_weight_today: int) -> bool:
        over = side * whole - a * total
        if over <= 0:
            return False
        left, right = over * over * _Z_SCALE * _Z_SCALE, spread * total * vote_weight_today
        return left > right or (inclusive and left == right)

    return passes
