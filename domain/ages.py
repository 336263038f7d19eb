"""Ages of votes: what a vote cast on some day weighs, in whole numbers.

Weights run forward (Cormode, Shkapenyuk, Srivastava and Xu 2009): those of later days are larger, none ever changes,
and so sums of them add. They are exact from one half-life to the next, and rounded down to 2**-32 within one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime
from decimal import Context, Decimal
from functools import lru_cache

from msgspec import Struct

from domain.rulebooks import Community

_EPOCH = date(1970, 1, 1).toordinal()
_PRECISION = 32
_DIGITS = Context(prec=50)
_LN_2 = _DIGITS.ln(Decimal(2))
_DOUBTFUL = Decimal("1e-30")


class DayVotes(Struct, frozen=True, order=True):
    """Votes that stand and were cast on ``day``, in days since 1970-01-01, UTC."""

    day: int
    ship: int
    skip: int


class Ballots(Struct, frozen=True):
    """The votes of one tool that stand: two numbers, and where a rulebook weighs age, the same by day.

    ``today`` is the day of the tool's newest cast or retraction, from which ages are counted; None without any.
    """

    ship: int = 0
    skip: int = 0
    today: int | None = None
    days: tuple[DayVotes, ...] = ()


class Weighed(Struct, frozen=True):
    """``count`` votes weigh ``total`` of which ``ship``; one cast today would weigh ``unit``."""

    count: int
    ship: int
    total: int
    unit: int = 1


def day_of(moment: datetime) -> int:
    """Of a time in UTC."""
    return moment.toordinal() - _EPOCH


def weigh(ballots: Ballots, community: Community) -> Weighed:
    if not ages(community):
        return Weighed(ballots.ship + ballots.skip, ballots.ship, ballots.ship + ballots.skip)
    days = within(ballots, community)
    weight = weights(days, ballots.today, community)
    count = ship = skip = 0
    for each in days:
        one = weight(each.day)
        count += each.ship + each.skip
        ship += one * each.ship
        skip += one * each.skip
    return Weighed(count, ship, ship + skip, weight(ballots.today or 0))


def weigh_days(ballots: Ballots, community: Community) -> list[tuple[int, DayVotes]]:
    """The days that count, newest first, each with what one of its votes weighs; one day where ages do not matter."""
    if not ages(community):
        return [(1, DayVotes(0, ballots.ship, ballots.skip))]
    days = within(ballots, community)
    weight = weights(days, ballots.today, community)
    return [(weight(each.day), each) for each in reversed(days)]


def ages(community: Community) -> bool:
    """Whether it matters when a vote was cast. Where votes cannot change a label, nobody reads their days."""
    aged = community.half_life_days is not None or community.window_days is not None
    return aged and (community.weight > 0 or community.veto_below is not None)


def within(ballots: Ballots, community: Community) -> list[DayVotes]:
    """The days that count, oldest first."""
    window = community.window_days
    days = sorted((each for each in ballots.days if each.ship or each.skip), key=lambda each: each.day)
    if window is None or ballots.today is None:
        return days
    return [each for each in days if each.day > ballots.today - window]


def weights(days: Iterable[DayVotes], today: int | None, community: Community) -> Callable[[int], int]:
    """Of a day, what a vote cast on it weighs; all divided by one power of two, so that they stay short."""
    half_life = community.half_life_days
    if half_life is None:
        return lambda _: 1
    base = min((each.day for each in days), default=today or 0) // half_life

    def weight(day: int) -> int:
        halves, rest = divmod(day, half_life)
        return _root(half_life, rest) << (halves - base)

    return weight


@lru_cache(100_000)
def _root(half_life: int, rest: int) -> int:
    """floor(2**(32 + rest / half_life)). Fifty digits tell, or else the power itself does."""
    power = _DIGITS.exp(_DIGITS.divide(_DIGITS.multiply(_LN_2, Decimal(rest)), Decimal(half_life)))
    root = _DIGITS.multiply(power, Decimal(1 << _PRECISION))
    near = int(root.to_integral_value())
    if abs(root - near) > _DOUBTFUL:
        return int(root)
    return near if near**half_life <= 1 << (_PRECISION * half_life + rest) else near - 1
