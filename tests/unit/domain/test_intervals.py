"""Intervals: published values, exact ends, exact rounding."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.rulebooks.rulebook import Threshold, read_rulebook
from domain.verdicts.decay import WeightedVotes
from domain.verdicts.intervals import Surd, exact, wilson_interval
from domain.verdicts.labels import interval_test

BY_INTERVAL = read_rulebook('name = "by-interval"\n[community]\nweight = 1\nbound = "interval"\nz = "1.96"')


# Newcombe 1998, Statistics in Medicine 17, table I, method 3: score without continuity correction.
@pytest.mark.parametrize(
    ("side", "total", "low", "high"),
    [
        (81, 263, "0.2553", "0.3662"),
        (15, 148, "0.0624", "0.1605"),
        (0, 20, "0.0000", "0.1611"),
        (1, 29, "0.0061", "0.1718"),
    ],
)
def test_the_published_intervals(side: int, total: int, low: str, high: str) -> None:
    ends = wilson_interval(side, total, 1, Decimal("1.959963984540054"))
    assert [str(end.rounded()) for end in ends] == [low, high]


def test_an_end_exactly_halfway_is_rounded_to_even() -> None:
    low, _ = wilson_interval(31, 31, 1, Decimal(1))
    assert low.equals(Fraction(31, 32))  # 0.96875
    assert str(low.rounded()) == "0.9688"
    assert [str(exact(Fraction(halves, 20_000)).rounded()) for halves in (1, 3, -1, -3)] == [
        "0.0000",
        "0.0002",
        "0.0000",
        "-0.0002",
    ]


@settings(deadline=None)
@given(st.fractions(0, 1), st.fractions(0, 3), st.fractions(-2, 2))
def test_arithmetic_on_rational_ends_is_exact(share: Fraction, factor: Fraction, more: Fraction) -> None:
    assert exact(share).times(factor).plus(more).equals(share * factor + more)
    assert exact(share).rounded() == Decimal(round(share * 10_000)).scaleb(-4)


@settings(deadline=None)
@given(st.integers(-50, 50), st.integers(0, 2_000), st.integers(1, 9), st.sampled_from((-1, 1)))
def test_an_end_is_rounded_like_its_first_fifty_digits(
    whole: int, square: int, over: int, sign: Literal[-1, 1]
) -> None:
    digits = Context(prec=60)
    root = digits.multiply(digits.sqrt(Decimal(square)), Decimal(sign))
    value = digits.divide(digits.add(Decimal(whole), root), Decimal(over))
    assert Surd(whole, square, over, sign).rounded() == value.quantize(
        Decimal("0.0001"), ROUND_HALF_EVEN, digits
    )


def test_equality_depends_on_the_sign_of_the_root() -> None:
    assert Surd(3, 4, 1, -1).equals(Fraction(1))
    assert not Surd(3, 4, 1, -1).equals(Fraction(5))
    assert Surd(3, 4, 1, 1).equals(Fraction(5))


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(1, 300), st.integers(1, 5), st.fractions(0, 1, max_denominator=50))
def test_an_interval_passes_a_threshold_when_its_lower_end_does(
    side: int, more: int, vote_weight_today: int, at: Fraction
) -> None:
    votes = WeightedVotes(side + more, side, side + more, vote_weight_today)
    low, _ = wilson_interval(side, votes.total, vote_weight_today, BY_INTERVAL.z)
    passes = interval_test(Threshold(at, inclusive=False), BY_INTERVAL)(
        side, votes.total, votes.vote_weight_today
    )
    reaches = interval_test(Threshold(at, inclusive=True), BY_INTERVAL)(
        side, votes.total, votes.vote_weight_today
    )
    assert reaches == (passes or low.equals(at))
    if low.rounded() != exact(at).rounded():
        assert passes == (low.rounded() > exact(at).rounded())
