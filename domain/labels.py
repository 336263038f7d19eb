"""Labels: what panel and community together amount to under a rulebook. Exact, in whole numbers and ratios.

While the day stands from which ages are counted, a label only rises with more votes for ship, Skip to Split to Ship,
and only falls with more for skip: margins and the search for flips rest on it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from functools import cached_property
from typing import Literal

from msgspec import Struct

from domain.ages import Weighed
from domain.rulebooks import Bar, Label, Rulebook

Decided = Literal["panel", "community", "panel and community", "veto", "nothing"]

_Z_SCALE = 10_000
NO_VOTES = Weighed(0, 0, 0)


class Rule(Struct, frozen=True, dict=True):
    """A rulebook for one state of the panel: the bars that the community's own share has to pass.

    ``panel`` is the panel's share, None where it says nothing; ``alone`` is the label while the community does not weigh.
    """

    book: Rulebook
    panel: Fraction | None
    alone: Label
    ship: Bar
    skip: Bar

    def speaks(self, votes: Weighed) -> bool:
        """Whether there are enough votes, and a rule for them."""
        return votes.count >= self._enough and votes.total > 0

    @cached_property
    def _enough(self) -> int:
        return self.book.community.minimum if self.book.weighs_votes else sys.maxsize

    @cached_property
    def _passes(self) -> Callable[[Bar, int, Weighed, Rulebook], bool] | None:
        """How the community's share passes a bar; None where it has no weight."""
        if not self.book.community.weight:
            return None
        return share_passes if self.book.community.bound == "share" else interval_passes

    def label(self, votes: Weighed) -> Label:
        if not self.speaks(votes):
            return self.alone
        label = self._before_veto(votes)
        return "Split" if label == "Ship" and self.vetoed(votes) else label

    def decide(self, votes: Weighed) -> tuple[Label, Decided]:
        """The label, and which part of the rulebook it rests on."""
        label, by = self.label(votes), self._of_panel()
        if not self.speaks(votes):
            return label, by
        if label == "Split" and self._before_veto(votes) == "Ship":
            return label, "veto"
        if self._passes is None:
            return label, by
        return label, "panel and community" if by == "panel" else "community"

    def vetoed(self, votes: Weighed) -> bool:
        bar = self.book.veto_bar
        return bar is not None and interval_passes(bar, votes.total - votes.ship, votes, self.book)

    def _of_panel(self) -> Decided:
        return "nothing" if self.alone == "Unreviewed" else "panel"

    def _before_veto(self, votes: Weighed) -> Label:
        passes = self._passes
        if passes is None:
            return self.alone
        if passes(self.ship, votes.ship, votes, self.book):
            return "Ship"
        if passes(self.skip, votes.total - votes.ship, votes, self.book):
            return "Skip"
        return self.book.between


def rule(book: Rulebook, panel: Fraction | None) -> Rule:
    if panel is None or book.panel.weight == 0:
        return Rule(book, panel, "Unreviewed", book.ship_bar, book.skip_bar)
    if book.ship_bar.passed_by(panel):
        alone: Label = "Ship"
    else:
        alone = "Skip" if book.skip_bar.passed_by(1 - panel) else book.between
    return Rule(book, panel, alone, _left(book, book.ship_bar, panel), _left(book, book.skip_bar, 1 - panel))


def _left(book: Rulebook, bar: Bar, panel: Fraction) -> Bar:
    """What is left for the community to pass, once the panel has given its part."""
    panel_weight, weight = book.panel.weight, book.community.weight
    if not weight:
        return bar
    return Bar((bar.at * (panel_weight + weight) - panel_weight * panel) / weight, bar.reach)


def share_passes(bar: Bar, side: int, votes: Weighed, _: Rulebook) -> bool:
    """``side`` of the votes' total, against the bar."""
    a, whole = bar.parts
    left, right = side * whole, a * votes.total
    return left > right or (bar.reach and left == right)


def interval_passes(bar: Bar, side: int, votes: Weighed, book: Rulebook) -> bool:
    """Whether the lower end of the Wilson interval of this side passes the bar, without taking a root.

    The end lies at the share ``a`` that a score test just does not reject (Wilson 1927), so it lies above ``a`` when
    p > a and (p - a)^2 > z^2 a (1 - a) / n. Here p = side/total and n = total/unit.
    """
    a, whole = bar.parts
    if a < 0 or (a == 0 and (bar.reach or side > 0)):
        return True
    if a == 0 or a >= whole:
        return False
    over = side * whole - a * votes.total
    if over <= 0:
        return False
    z = book.z_in_ten_thousandths
    left = over * over * _Z_SCALE * _Z_SCALE
    right = z * z * a * (whole - a) * votes.total * votes.unit
    return left > right or (bar.reach and left == right)
