"""Comparisons: which of two tools wins, and by which clause."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Literal

from msgspec import Struct

from domain.statistics import wilson_bounds
from domain.verdicts import Verdict

Side = Literal["left", "right"]
Clause = Literal["panel share", "mean score", "community lower bound", "none"]


class Winner(Struct, frozen=True):
    side: Side | None
    label: str
    clause: Clause


def winner(left: Verdict, right: Verdict, names: tuple[str, str]) -> Winner:
    """The first clause that tells the two apart decides. What is missing loses to what is there.

    Compared are the exact values, not the rounded ones that are shown.
    """
    for clause, value in _CLAUSES:
        a, b = value(left), value(right)
        if a != b:
            left_wins = b is None or (a is not None and a > b)
            return Winner("left", names[0], clause) if left_wins else Winner("right", names[1], clause)
    return Winner(None, "Toss-up", "none")


def _panel_share(verdict: Verdict) -> Fraction | None:
    panel = verdict.panel
    return Fraction(panel.ship, panel.ship + panel.skip) if panel.ship + panel.skip else None


def _mean_score(verdict: Verdict) -> Fraction | None:
    panel = verdict.panel
    return Fraction(panel.score_total, panel.ship + panel.skip) if panel.ship + panel.skip else None


def _lower_bound(verdict: Verdict) -> Fraction | None:
    bounds = wilson_bounds(verdict.community.ship, verdict.community.skip)
    return Fraction(bounds[0]) if bounds else None


_CLAUSES: tuple[tuple[Clause, Callable[[Verdict], Fraction | None]], ...] = (
    ("panel share", _panel_share),
    ("mean score", _mean_score),
    ("community lower bound", _lower_bound),
)
