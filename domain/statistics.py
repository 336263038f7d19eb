"""Statistics in decimals: exact to the last stated place, the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

from domain.intervals import wilson_ends

_EXACT = Context(prec=40, rounding=ROUND_HALF_EVEN)
_FOUR_PLACES = Decimal("0.0001")
ZERO, ONE = Decimal(0), Decimal(1)

# The two-sided 95 % quantile of the normal distribution, to four places.
Z_95 = Decimal("1.9600")


def four_places(value: Decimal) -> Decimal:
    """Rounded half to even, the form in which shares are shown and compared."""
    return value.quantize(_FOUR_PLACES, rounding=ROUND_HALF_EVEN, context=_EXACT)


def share(ship: int, skip: int) -> Decimal | None:
    """ship / (ship + skip) to four places; None of nothing."""
    total = ship + skip
    return four_places(_EXACT.divide(Decimal(ship), Decimal(total))) if total else None


def mean(values: Sequence[int]) -> Decimal | None:
    """To one place, rounded half to even; None of nothing."""
    if not values:
        return None
    exact = _EXACT.divide(Decimal(sum(values)), Decimal(len(values)))
    return exact.quantize(Decimal("0.1"), rounding=ROUND_HALF_EVEN, context=_EXACT)


def ratio(value: Fraction) -> Decimal:
    """To forty digits."""
    return _EXACT.divide(Decimal(value.numerator), Decimal(value.denominator))


def wilson(ship: int, skip: int, z: Decimal = Z_95) -> tuple[Decimal, Decimal] | None:
    """The score interval to four places, exactly rounded half to even; None of nothing."""
    if not ship + skip:
        return None
    low, high = wilson_ends(ship, ship + skip, 1, z)
    return low.rounded(), high.rounded()


def wilson_bounds(
    ship: int | Fraction, skip: int | Fraction, z: Decimal = Z_95
) -> tuple[Decimal, Decimal] | None:
    """The score interval of the share (Wilson 1927) to forty digits, within 0..1; None of nothing.

    Votes that weigh less than one are counted as parts of one.

    centre = (p + z^2/2n) / (1 + z^2/n); half = z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n)
    """
    if not ship + skip:
        return None
    c, n = _EXACT, ratio(Fraction(ship + skip))
    p, z2 = ratio(Fraction(ship) / (ship + skip)), c.multiply(z, z)
    spread = c.add(
        c.divide(c.multiply(p, c.subtract(ONE, p)), n), c.divide(z2, c.multiply(4, c.multiply(n, n)))
    )
    half = c.multiply(z, c.sqrt(spread))
    centre = c.add(p, c.divide(z2, c.multiply(2, n)))
    scale = c.add(ONE, c.divide(z2, n))
    low = ZERO if ship == 0 else c.divide(c.subtract(centre, half), scale)
    high = ONE if skip == 0 else c.divide(c.add(centre, half), scale)
    return low, high
