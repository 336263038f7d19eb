"""Margins: the fewest votes, and the fewest takes, without which the label would be another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import accumulate
from operator import mul
from typing import TypeAlias

from domain.rulebooks.rulebook import Label, Rulebook
from domain.verdicts.decay import WeightedDays, WeightedVotes
from domain.verdicts.labels import Rule, rule

Taken: TypeAlias = Callable[[int], WeightedVotes]


def fewest_votes(standing: Rule, days: WeightedDays, votes: WeightedVotes) -> int | None:
    """Of ``votes``, the sum of ``days``. None where no number of votes taken out changes the label.

    While enough votes are left, those of one side move a label furthest, the ones that weigh most first; with too few
    left, the community says nothing, whichever they were. One of the two is the shortest way.
    """
    if not standing.has_quorum(votes):
        return None
    label, spare = standing.label(votes), votes.count - standing.book.community.minimum

    def way(taken: Taken, most: int) -> int | None:
        return _first(lambda gone: standing.label(taken(gone)) != label, min(spare, most))

    ways = [way(*_ships_taken(days, votes)), way(*_skips_taken(days, votes))]
    if standing.panel_label != label:
        ways.append(spare + 1)
    return min((each for each in ways if each is not None), default=None)


def _ships_taken(days: WeightedDays, votes: WeightedVotes) -> tuple[Taken, int]:
    weight, most = _heaviest(days.weights, days.ship)

    def taken(gone: int) -> WeightedVotes:
        ship, total = votes.ship - weight(gone), votes.total - weight(gone)
        return WeightedVotes(votes.count - gone, ship, total, votes.vote_weight_today)

    return taken, most


def _skips_taken(days: WeightedDays, votes: WeightedVotes) -> tuple[Taken, int]:
    weight, most = _heaviest(days.weights, days.skip)
    return lambda gone: WeightedVotes(
        votes.count - gone, votes.ship, votes.total - weight(gone), votes.vote_weight_today
    ), most


def _heaviest(weights: list[int], votes: list[int]) -> tuple[Callable[[int], int], int]:
    """What the heaviest so many of these votes weigh, and how many there are: the newest days come first."""
    counts = list(accumulate(votes, initial=0))
    sums: list[int] = list(accumulate(map(mul, weights, votes), initial=0))

    def weight(gone: int) -> int:
        whole = bisect_right(counts, gone) - 1
        rest = gone - counts[whole]
        return sums[whole] + (rest * weights[whole] if rest else 0)

    return weight, counts[-1]


def _first(is_so: Callable[[int], bool], most: int) -> int | None:
    """The first of 1..most for which it is so; once so, it stays so."""
    if most < 1 or not is_so(most):
        return None
    low, high = 0, most
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_so(middle) else (middle, high)
    return high


def fewest_takes(
    book: Rulebook, takes: Sequence[tuple[int, int]], votes: WeightedVotes, label: Label
) -> int | None:
    """Of takes as (weight, worth). None where no number of takes taken out changes the label."""
    if book.panel.weight == 0:
        return None
    for gone in range(1, len(takes) + 1):
        left = len(takes) - gone
        shares: Iterable[Fraction | None] = (
            (least_share(takes, left), 1 - least_share([(w, 100 - v) for w, v in takes], left))
            if left >= book.panel.quorum
            else (None,)
        )
        if any(rule(book, share).label(votes) != label for share in shares):
            return gone
    return None


def panel_share(takes: Sequence[tuple[int, int]]) -> Fraction:
    """The mean worth, weighed, within 0..1. At least one take weighs something."""
    return Fraction(sum(weight * worth for weight, worth in takes), 100 * sum(weight for weight, _ in takes))


def least_share(takes: Sequence[tuple[int, int]], kept: int) -> Fraction:
    """The least share that so many of the takes can have (Dinkelbach 1967, which ends: takes are finitely many)."""
    if len({weight for weight, _ in takes}) == 1:
        return Fraction(sum(sorted(worth for _, worth in takes)[:kept]), 100 * kept)
    share = panel_share(takes)
    while True:
        over, whole = 100 * share.numerator, share.denominator
        chosen = sorted((weight * (worth * whole - over), weight, worth) for weight, worth in takes)[:kept]
        least = panel_share([(weight, worth) for _, weight, worth in chosen])
        if least >= share:
            return share
        share = least
