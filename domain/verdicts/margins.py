"""Margins: the fewest votes, and the fewest takes, whose removal would change the label."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import accumulate
from operator import mul
from typing import TypeAlias

from domain.rulebooks.rulebook import Label, Rulebook
from domain.verdicts.decay import WeightedDays, WeightedVotes
from domain.verdicts.labels import Rule, rule_for

# The votes that remain after a number of removals.
Remaining: TypeAlias = Callable[[int], WeightedVotes]


def vote_margin(rule: Rule, days: WeightedDays, votes: WeightedVotes) -> int | None:
    """``votes`` is the sum of ``days``. None where no removal of votes changes the label.

    While the quorum holds, the fastest way to change the label is to remove votes of one side, heaviest first; below the
    quorum votes do not count, whichever were removed. The margin is the smallest of these three numbers.
    """
    if not rule.has_quorum(votes):
        return None
    label, spare = rule.label(votes), votes.count - rule.book.community.minimum

    def fewest(remaining: Remaining, count: int) -> int | None:
        return _first(lambda removed: rule.label(remaining(removed)) != label, min(spare, count))

    margins = [fewest(*_without_ships(days, votes)), fewest(*_without_skips(days, votes))]
    if rule.panel_label != label:
        margins.append(spare + 1)
    return min((each for each in margins if each is not None), default=None)


def _without_ships(days: WeightedDays, votes: WeightedVotes) -> tuple[Remaining, int]:
    weight, count = _heaviest(days.weights, days.ship)

    def remaining(removed: int) -> WeightedVotes:
        ship, total = votes.ship - weight(removed), votes.total - weight(removed)
        return WeightedVotes(votes.count - removed, ship, total, votes.vote_weight_today)

    return remaining, count


def _without_skips(days: WeightedDays, votes: WeightedVotes) -> tuple[Remaining, int]:
    weight, count = _heaviest(days.weights, days.skip)

    def remaining(removed: int) -> WeightedVotes:
        total = votes.total - weight(removed)
        return WeightedVotes(votes.count - removed, votes.ship, total, votes.vote_weight_today)

    return remaining, count


def _heaviest(weights: list[int], votes: list[int]) -> tuple[Callable[[int], int], int]:
    """The weight of the n heaviest of these votes, as a function of n, and their number. The newest days come first."""
    counts = list(accumulate(votes, initial=0))
    sums: list[int] = list(accumulate(map(mul, weights, votes), initial=0))

    def weight(number: int) -> int:
        whole_days = bisect_right(counts, number) - 1
        rest = number - counts[whole_days]
        return sums[whole_days] + (rest * weights[whole_days] if rest else 0)

    return weight, counts[-1]


def _first(is_true: Callable[[int], bool], last: int) -> int | None:
    """The first of 1..last for which the predicate is true; it is monotone."""
    if last < 1 or not is_true(last):
        return None
    return 1 + bisect_left(range(1, last), x=True, key=is_true)


def take_margin(
    book: Rulebook, takes: Sequence[tuple[int, int]], votes: WeightedVotes, label: Label
) -> int | None:
    """``takes`` are pairs (weight, worth). None where no removal of takes changes the label."""
    if book.panel.weight == 0:
        return None
    for removed in range(1, len(takes) + 1):
        kept = len(takes) - removed
        shares: Iterable[Fraction | None] = (
            (least_share(takes, kept), 1 - least_share([(w, 100 - v) for w, v in takes], kept))
            if kept >= book.panel.quorum
            else (None,)
        )
        if any(rule_for(book, share).label(votes) != label for share in shares):
            return removed
    return None


def panel_share(takes: Sequence[tuple[int, int]]) -> Fraction:
    """The weighted mean worth, within 0..1. At least one weight is above 0."""
    return Fraction(sum(weight * worth for weight, worth in takes), 100 * sum(weight for weight, _ in takes))


def least_share(takes: Sequence[tuple[int, int]], kept: int) -> Fraction:
    """The least share of any ``kept`` of the takes, by Dinkelbach's iteration (1967), which ends for finitely many takes."""
    if len({weight for weight, _ in takes}) == 1:
        return Fraction(sum(sorted(worth for _, worth in takes)[:kept]), 100 * kept)
    share = panel_share(takes)
    while True:
        numerator, denominator = 100 * share.numerator, share.denominator
        chosen = sorted(
            (weight * (worth * denominator - numerator), weight, worth) for weight, worth in takes
        )[:kept]
        least = panel_share([(weight, worth) for _, weight, worth in chosen])
        if least >= share:
            return share
        share = least
