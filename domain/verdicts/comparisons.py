"""Comparisons: which of two tools wins, and by which clause."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, assert_never

from msgspec import Struct

from domain.rulebooks.rulebook import Clause, Rulebook
from domain.verdicts.statistics import wilson_lower_bound
from domain.verdicts.verdict import BriefVerdict, Verdict

ComparisonSide = Literal["left", "right"]


class Winner(Struct, frozen=True):
    side: ComparisonSide | None
    label: str
    clause: Clause | Literal["none"]


def winner(left: Verdict, right: Verdict, names: tuple[str, str], rulebook: Rulebook) -> Winner:
    """By the first clause in which the two differ. A missing value loses to any other; values are compared exactly."""
    for clause in rulebook.comparison:
        a, b = value_of_clause(clause, left, rulebook), value_of_clause(clause, right, rulebook)
        if a != b:
            left_wins = b is None or (a is not None and a > b)
            return Winner("left", names[0], clause) if left_wins else Winner("right", names[1], clause)
    return Winner(None, "Toss-up", "none")


def value_of_clause(clause: Clause, verdict: Verdict | BriefVerdict, rulebook: Rulebook) -> Fraction | None:
    """The value that the clause compares; None without takes or votes."""
    panel, votes = verdict.panel, verdict.community
    match clause:
        case "verdict":
            return Fraction(("Unreviewed", "Skip", "Split", "Ship").index(verdict.label))
        case "panel share":
            return Fraction(panel.ship, panel.ship + panel.skip) if panel.ship + panel.skip else None
        case "mean score":
            return Fraction(panel.score_total, panel.ship + panel.skip) if panel.ship + panel.skip else None
        case "community share":
            return Fraction(votes.ship, votes.total) if votes.total else None
        case "community lower bound":
            return Fraction(wilson_lower_bound(votes.ship, votes.skip, rulebook.z)) if votes.total else None
        case "votes":
            return Fraction(votes.total)
        case _:
            assert_never(clause)
