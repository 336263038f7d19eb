"""Intervals: the ends of Wilson's interval as the exact numbers they are, and their four shown places."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import isqrt
from typing import Literal

from msgspec import Struct

PLACES = 10_000


class End(Struct, frozen=True):
    """``(whole + sign * sqrt(square)) / over``, where ``over`` is above 0."""

    whole: int
    square: int = 0
    over: int = 1
    sign: Literal[-1, 1] = 1

    def times(self, factor: Fraction) -> End:
        """``factor`` is not below 0."""
        by, over = factor.numerator, factor.denominator
        return End(self.whole * by, self.square * by * by, self.over * over, self.sign)

    def plus(self, share: Fraction) -> End:
        by = share.denominator
        return End(
            self.whole * by + share.numerator * self.over, self.square * by * by, self.over * by, self.sign
        )

    def equals(self, share: Fraction) -> bool:
        rest = share * self.over - self.whole
        return rest * rest == self.square and rest * self.sign >= 0

    def rounded(self) -> Decimal:
        """Half to even. No digit depends on how exactly a root was taken."""
        halves, exact = self._counted_in(2 * PLACES)
        places, above = divmod(halves, 2)
        if above:
            places += places & 1 if exact else 1
        return Decimal(places).scaleb(-4)

    def rounded_down(self, places: int) -> int:
        """In units of 10**-places."""
        return self._counted_in(10**places)[0]

    def _counted_in(self, parts: int) -> tuple[int, bool]:
        """How many whole parts, of which so many make 1, and whether that is all."""
        square = self.square * parts**2
        root = isqrt(square)
        exact = root * root == square
        down = root if self.sign > 0 else -root - (not exact)
        counted, rest = divmod(self.whole * parts + down, self.over)
        return counted, exact and rest == 0


def exactly(share: Fraction) -> End:
    return End(share.numerator, 0, share.denominator)


def wilson_interval(side: int, total: int, vote_weight_today: int, z: Decimal) -> tuple[End, End]:
    """The score interval (Wilson 1927) of the share p = side/total of n = total/unit votes; ``total`` is above 0.

    (2np + z^2 -+ z sqrt(4np(1 - p) + z^2)) / 2(n + z^2), in whole numbers.
    """
    up, down = z.as_integer_ratio()
    z2, one = up * up * vote_weight_today, down * down
    whole = total * (2 * side * one + z2)
    square = up * up * total * vote_weight_today * (4 * one * side * (total - side) + z2 * total)
    over = 2 * total * (total * one + z2)
    return End(whole, square, over, -1), End(whole, square, over, 1)
