"""Decay of votes: the weight of a vote by the day of its cast, in whole numbers.

Exponential decay counted forward (Cormode, Shkapenyuk, Srivastava and Xu 2009): later days weigh more, and no weight
ever changes, so that sums of weights can be added. Weights are exact powers of two from one half-life to the next, and
rounded down to 2**-32 within a half-life.
"""

from __future__ import annotations

from bisect import bisect_left
from decimal import Context, Decimal
from functools import lru_cache
from operator import attrgetter, mul, neg

from msgspec import Struct

from domain.rulebooks.rulebook import Community

_BINARY_PLACES = 32
_DIGITS = Context(prec=50)
_LN_2 = _DIGITS.ln(Decimal(2))
_ERROR_MAX = Decimal("1e-30")


class DayVotes(Struct, frozen=True, order=True):
    """Current votes that were cast on ``day``, in days since 1970-01-01, UTC."""

    day: int
    ship: int
    skip: int


class Ballots(Struct, frozen=True):
    """The current votes of one tool: two counts, and the same by day where a rulebook weighs age.

    ``today`` is the day of the tool's newest cast or retraction, from which ages are counted; None without any.
    """

    ship: int = 0
    skip: int = 0
    today: int | None = None
    days: tuple[DayVotes, ...] = ()


class WeightedVotes(Struct, frozen=True):
    """``ship`` and ``total`` are sums of weights of ``count`` votes, in units in which one cast today weighs ``vote_weight_today``."""

    count: int
    ship: int
    total: int
    vote_weight_today: int = 1


class WeightedDays(Struct, frozen=True):
    """Three columns, newest day first: the weight of one vote, and the votes. A vote cast today weighs ``vote_weight_today``."""

    weights: list[int]
    ship: list[int]
    skip: list[int]
    vote_weight_today: int = 1

    @property
    def summed(self) -> WeightedVotes:
        ship, skip = sum(map(mul, self.weights, self.ship)), sum(map(mul, self.weights, self.skip))
        return WeightedVotes(sum(self.ship) + sum(self.skip), ship, ship + skip, self.vote_weight_today)


def weigh(ballots: Ballots, community: Community) -> WeightedVotes:
    return weigh_days(ballots, community).summed


def weigh_days(ballots: Ballots, community: Community) -> WeightedDays:
    """A single row for all votes if the rulebook does not weigh age."""
    if not community.weighs_age:
        return WeightedDays([1], [ballots.ship], [ballots.skip])
    newest = sorted(
        (each for each in ballots.days if each.ship or each.skip), key=attrgetter("day"), reverse=True
    )
    days, ship, skip = ([getattr(each, name) for each in newest] for name in ("day", "ship", "skip"))
    return weigh_newest_days(days, ship, skip, ballots.today, community)


def weigh_newest_days(
    days: list[int], ship: list[int], skip: list[int], today: int | None, community: Community
) -> WeightedDays:
    """``days`` are newest first; those outside the rulebook's window are left out."""
    window = community.window_days
    if window is not None and today is not None:
        count = bisect_left(days, window - today, key=neg)
        days, ship, skip = days[:count], ship[:count], skip[:count]
    weight = weights(community, days[-1] if days else today or 0)
    return WeightedDays([weight[day] for day in days], ship, skip, weight[today or 0])


class Weights(dict[int, int]):
    """The weight of a vote by the day of its cast, computed on first use: whole numbers from ``first_day`` on.

    Earlier days need another scale, from ``weights``. Two scales of one half-life differ by a power of two.
    """

    def __init__(self, half_life: int | None, half_lives: int) -> None:
        super().__init__()
        self._half_life, self._half_lives = half_life, half_lives
        self.first_day = 0 if half_life is None else half_life * half_lives

    def __missing__(self, day: int) -> int:
        weight = self[day] = self._weight(day)
        return weight

    def _weight(self, day: int) -> int:
        if self._half_life is None:
            return 1
        assert day >= self.first_day, "an earlier day needs weights that begin earlier"
        halves, rest = divmod(day, self._half_life)
        return _root(self._half_life, rest) << (halves - self._half_lives)


def weights(community: Community, first: int) -> Weights:
    """Whole numbers from the day ``first`` on, divided by the largest power of two that leaves them whole."""
    half_life = community.half_life_days
    return _weights(half_life, 0 if half_life is None else first // half_life)


@lru_cache(100)
def _weights(half_life: int | None, half_lives: int) -> Weights:
    return Weights(half_life, half_lives)


@lru_cache(100_000)
def _root(half_life: int, rest: int) -> int:
    """floor(2**(32 + rest / half_life)): with fifty digits, or exactly where those are too close to a whole number."""
    power = _DIGITS.exp(_DIGITS.divide(_DIGITS.multiply(_LN_2, Decimal(rest)), Decimal(half_life)))
    root = _DIGITS.multiply(power, Decimal(1 << _BINARY_PLACES))
    near = int(root.to_integral_value())
    if abs(root - near) > _ERROR_MAX:
        return int(root)
    return near if near**half_life <= 1 << (_BINARY_PLACES * half_life + rest) else near - 1
