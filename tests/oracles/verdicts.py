"""An oracle for verdicts, in plain Python: slow, obvious, and sharing no code with the domain.

It reads a rulebook as JSON, uses Wilson's formula as textbooks print it, and finds margins by trying every removal of
votes and takes. Roots are computed to 200 digits; numbers that differ by less than 1e-120 are equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from functools import cache
from itertools import combinations, product
from typing import Any

Number = Fraction | Decimal
Book = dict[str, Any]
Take = tuple[str, int, str]  # reviewer, score, choice
Votes = dict[tuple[int, str], int]  # (day, choice): count

DIGITS, EQUAL = 200, Decimal("1e-120")


@dataclass(frozen=True)
class Judged:
    label: str
    decided: str
    panel: Number | None
    count: int
    share: Number | None
    interval: tuple[Number, Number] | None
    combined: tuple[Number, Number] | None


def judge_plainly(book: Book, takes: Sequence[Take], votes: Votes, today: int) -> Judged:
    panel = panel_of(book, takes)
    weights = {key: weight_of(book, key[0], today) for key in votes}
    count = sum(number for key, number in votes.items() if weights[key])
    ship = sum((votes[key] * weights[key] for key in votes if key[1] == "ship"), Fraction(0))
    total = sum((votes[key] * weights[key] for key in votes), Fraction(0))
    community = book["community"]
    reads_votes = community["weight"] > 0 or community["veto_below"] is not None
    if not reads_votes or count < community["minimum"]:
        return Judged(
            *_by_thresholds(book, panel, None), panel, count, None, None, _combined(book, panel, None)
        )
    share = ship / total
    interval = wilson(share, total, Fraction(community["z"]))
    community_share = (
        None if not community["weight"] else interval if community["bound"] == "interval" else (share, share)
    )
    label, decided = _by_thresholds(book, panel, community_share)
    veto = community["veto_below"]
    if label == "Ship" and veto is not None and compare(interval[1], Fraction(veto)) < 0:
        label, decided = "Split", "veto"
    return Judged(label, decided, panel, count, share, interval, _combined(book, panel, community_share))


def _by_thresholds(
    book: Book, panel: Number | None, community_share: tuple[Number, Number] | None
) -> tuple[str, str]:
    combined = _combined(book, panel, community_share)
    if combined is None:
        return "Unreviewed", "nothing"
    panel_counts = panel is not None and book["panel"]["weight"] > 0
    decided = (
        "panel and community"
        if panel_counts and community_share
        else "panel"
        if panel_counts
        else "community"
    )
    return label_at(book, *combined), decided


def label_at(book: Book, low: Number, high: Number) -> str:
    ship, skip = book["ship"], book["skip"]
    over = compare(low, Fraction(ship.lstrip(">=")))
    if over > 0 or (over == 0 and ship.startswith(">=")):
        return "Ship"
    under = compare(high, Fraction(skip.lstrip("<=")))
    if under < 0 or (under == 0 and skip.startswith("<=")):
        return "Skip"
    return str(book["between"])


def _combined(
    book: Book, panel: Number | None, community_share: tuple[Number, Number] | None
) -> tuple[Number, Number] | None:
    weight, other = book["panel"]["weight"], book["community"]["weight"]
    if panel is None or weight == 0:
        return community_share
    if community_share is None:
        return panel, panel
    low, high = community_share
    return _mean(weight, panel, other, low), _mean(weight, panel, other, high)


def _mean(a: int, x: Number, b: int, y: Number) -> Number:
    if isinstance(x, Fraction) and isinstance(y, Fraction):
        return (a * x + b * y) / (a + b)
    with localcontext() as digits:
        digits.prec = DIGITS
        return (a * decimal(x) + b * decimal(y)) / (a + b)


def panel_of(book: Book, takes: Sequence[Take]) -> Fraction | None:
    panel = book["panel"]
    counted = [
        (panel["weights"].get(reviewer, 1), worth(panel, score, choice)) for reviewer, score, choice in takes
    ]
    counted = [(weight, value) for weight, value in counted if weight > 0]
    if len(counted) < panel["quorum"]:
        return None
    return Fraction(sum(w * v for w, v in counted), 100 * sum(w for w, _ in counted))


def worth(panel: dict[str, Any], score: int, choice: str) -> int:
    if panel["counts"] == "choices":
        return {"ship": 100, "skip": 0}[choice]
    value = score
    for start, band in panel["bands"]:
        if start <= score:
            value = band
    return value


def weight_of(book: Book, day: int, today: int) -> Fraction:
    """Of one vote; a vote cast today weighs 1."""
    window, half_life = book["community"]["window_days"], book["community"]["half_life_days"]
    if window is not None and today - day >= window:
        return Fraction(0)
    return Fraction(1) if half_life is None else forward(half_life, day) / forward(half_life, today)


@cache
def forward(half_life: int, day: int) -> Fraction:
    """2 ** (day / half_life); the part within a half-life is rounded down to 32 binary places."""
    whole, rest = divmod(day, half_life)
    low, high = 2**32, 2**33
    while high - low > 1:
        middle = (low + high) // 2
        if middle**half_life > 2 ** (32 * half_life + rest):
            high = middle
        else:
            low = middle
    return Fraction(low, 2**32) * Fraction(2) ** whole


def wilson(p: Fraction, n: Fraction, z: Fraction) -> tuple[Decimal, Decimal]:
    """centre -+ z sqrt(p(1 - p)/n + z^2/4n^2), over 1 + z^2/n."""
    with localcontext() as digits:
        digits.prec = DIGITS
        spread = decimal(p * (1 - p) / n + z * z / (4 * n * n)).sqrt() * decimal(z)
        centre, scale = decimal(p + z * z / (2 * n)), decimal(1 + z * z / n)
        return (centre - spread) / scale, (centre + spread) / scale


def compare(a: Number, b: Number) -> int:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return (a > b) - (a < b)
    with localcontext() as digits:
        digits.prec = DIGITS
        gap = decimal(a) - decimal(b)
        return 0 if abs(gap) < EQUAL else 1 if gap > 0 else -1


def decimal(number: Number) -> Decimal:
    with localcontext() as digits:
        digits.prec = DIGITS
        return number if isinstance(number, Decimal) else Decimal(number.numerator) / number.denominator


def four_places(number: Number) -> Decimal:
    with localcontext() as digits:
        digits.prec = 100
        halves = +decimal(number)
        return halves.quantize(Decimal("0.0001"), rounding=ROUND_HALF_EVEN) + 0  # never -0.0000


def fewest_votes(book: Book, takes: Sequence[Take], votes: Votes, today: int) -> int | None:
    """Tries every removal, the smallest first."""
    label = judge_plainly(book, takes, votes, today).label
    for left in _subsets(votes):
        if judge_plainly(book, takes, left, today).label != label:
            return sum(votes.values()) - sum(left.values())
    return None


def _subsets(votes: Votes) -> Iterator[Votes]:
    """Every subset of the votes, the largest first."""
    ways = product(*(range(number + 1) for number in votes.values()))
    for counts in sorted(ways, key=sum, reverse=True):
        yield dict(zip(votes, counts, strict=True))


def fewest_takes(book: Book, takes: Sequence[Take], votes: Votes, today: int) -> int | None:
    label = judge_plainly(book, takes, votes, today).label
    for removed in range(1, len(takes) + 1):
        for kept in combinations(takes, len(takes) - removed):
            if judge_plainly(book, kept, votes, today).label != label:
                return removed
    return None
