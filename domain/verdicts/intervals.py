"""Intervals: the ends of the Wilson interval as exact numbers, and their rounding to four places."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import isqrt
from typing import Literal

from msgspec import Struct

PLACES = 10_000


class Surd(Struct, frozen=True):
    """The quadratic surd ``(rational + sign * sqrt(radicand)) / denominator``; the denominator is above 0."""

    rational: int
    radicand: int = 0
    denominator: int = 1
    sign: Literal[-1, 1] = 1

    def times(self, factor: Fraction) -> Surd:
        """``factor`` is not negative."""
        by, denominator = factor.numerator, factor.denominator
        return Surd(self.rational * by, self.radicand * by * by, self.denominator * denominator, self.sign)

    def plus(self, share: Fraction) -> Surd:
        by = share.denominator
        rational = self.rational * by + share.numerator * self.denominator
        return Surd(rational, self.radicand * by * by, self.denominator * by, self.sign)

    def equals(self, share: Fraction) -> bool:
        root = share * self.denominator - self.rational
        return root * root == self.radicand and root * self.sign >= 0

    def rounded(self) -> Decimal:
        """To four places, half to even, exactly."""
        halves, exact = self._floor(2 * PLACES)
        places, above = divmod(halves, 2)
        if above:
            places += places & 1 if exact else 1
        return Decimal(places).scaleb(-4)

    def rounded_down(self, places: int) -> int:
        """In units of 10**-places."""
        return self._floor(10**places)[0]

    def _floor(self, parts: int) -> tuple[int, bool]:
        """The number times ``parts``, rounded down, and whether that is exact."""
        radicand = self.radicand * parts**2
        root = isqrt(radicand)
        exact = root * root == radicand
        down = root if self.sign > 0 else -root - (not exact)
        floor, rest = divmod(self.rational * parts + down, self.denominator)
        return floor, exact and rest == 0


def exact(share: Fraction) -> Surd:
    return Surd(share.numerator, 0, share.denominator)


def wilson_interval(side: int, total: int, vote_weight_today: int, z: Decimal) -> tuple[Surd, Surd]:
    """The score interval (Wilson 1927) of the share p = side/total of n = total/vote_weight_today votes, total above 0.

    (2np + z^2 -+ z sqrt(4np(1 - p) + z^2)) / 2(n + z^2), in whole numbers.
    """
    up, down = z.as_integer_ratio()
    z2, one = up * up * vote_weight_today, down * down
    rational = total * (2 * side * one + z2)
    radicand = up * up * total * vote_weight_today * (4 * one * side * (total - side) + z2 * total)
    denominator = 2 * total * (total * one + z2)
    return Surd(rational, radicand, denominator, -1), Surd(rational, radicand, denominator, 1)
