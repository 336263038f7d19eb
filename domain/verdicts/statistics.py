"""Shares, means and intervals as decimals, exact to the last place shown and the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache

from domain.verdicts.intervals import wilson_interval

_EXACT = Context(prec=40, rounding=ROUND_HALF_EVEN)
_FOUR_PLACES = Decimal("0.0001")

# The two-sided 95 % quantile of the normal distribution, to four places.
Z_95 = Decimal("1.9600")


def four_places(value: Decimal) -> Decimal:
    """Rounded half to even, as shares are shown."""
    return value.quantize(_FOUR_PLACES, rounding=ROUND_HALF_EVEN, context=_EXACT)


def share(ship: int, skip: int) -> Decimal | None:
    """ship / (ship + skip) to four places; None without votes."""
    total = ship + skip
    return four_places(_EXACT.divide(Decimal(ship), Decimal(total))) if total else None


def mean(values: Sequence[int]) -> Decimal | None:
    """To one place, rounded half to even; None without values."""
    if not values:
        return None
    exact = _EXACT.divide(Decimal(sum(values)), Decimal(len(values)))
    return exact.quantize(Decimal("0.1"), rounding=ROUND_HALF_EVEN, context=_EXACT)


def wilson(ship: int, skip: int, z: Decimal = Z_95) -> tuple[Decimal, Decimal] | None:
    """The score interval to four places, rounded half to even; None without votes."""
    if not ship + skip:
        return None
    low, high = wilson_interval(ship, ship + skip, 1, z)
    return low.rounded(), high.rounded()


@lru_cache(100_000)
def wilson_lower_bound(ship: int, skip: int, z: Decimal = Z_95) -> int:
    """Of the score interval, in units of 10**-30, rounded down; 0 without votes. Rankings and comparisons use it."""
    return wilson_interval(ship, ship + skip, 1, z)[0].rounded_down(30) if ship + skip else 0
