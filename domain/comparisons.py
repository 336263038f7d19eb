"""Comparisons: which of two tools wins, and by which clause."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from domain.verdicts import Verdict

Side = Literal["left", "right"]
Clause = Literal["panel share", "mean score", "community lower bound", "none"]


class Winner(Struct, frozen=True):
    side: Side | None
    label: str
    clause: Clause


_NOTHING = Decimal(-1)

# Tried in order; the first that tells the two apart decides. What is missing loses to what is there.
_CLAUSES: tuple[tuple[Clause, Callable[[Verdict], Decimal | None]], ...] = (
    ("panel share", lambda verdict: verdict.panel.share),
    ("mean score", lambda verdict: verdict.panel.mean_score),
    ("community lower bound", lambda verdict: verdict.community.interval and verdict.community.interval[0]),
)


def winner(left: Verdict, right: Verdict, names: tuple[str, str]) -> Winner:
    for clause, side in _told_apart(left, right):
        return Winner(side, names[0] if side == "left" else names[1], clause)
    return Winner(None, "Toss-up", "none")


def _told_apart(left: Verdict, right: Verdict) -> Iterator[tuple[Clause, Side]]:
    for clause, value in _CLAUSES:
        a, b = (_NOTHING if value(verdict) is None else value(verdict) for verdict in (left, right))
        if a != b:
            yield clause, "left" if (a or 0) > (b or 0) else "right"
