"""Statistics: against scipy, and never outside 0..1."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from domain.verdicts.statistics import four_places, mean, share, wilson

COUNTS = [0, 1, 2, 3, 7, 10, 99, 1_000, 12_345, 10**6, 10**9]
CONFIDENCE = 2 * norm.cdf(1.96) - 1
HALF_A_PLACE = 0.00005 + 1e-9

counts = st.integers(0, 10**15)


@pytest.mark.parametrize("ship", COUNTS)
@pytest.mark.parametrize("skip", COUNTS)
def test_wilson_is_scipys(ship: int, skip: int) -> None:
    interval = wilson(ship, skip)
    if interval is None:
        assert ship + skip == 0
        return
    expected = binomtest(ship, ship + skip).proportion_ci(CONFIDENCE, method="wilson")
    assert abs(float(interval[0]) - expected.low) <= HALF_A_PLACE
    assert abs(float(interval[1]) - expected.high) <= HALF_A_PLACE


@given(counts, counts)
def test_share_and_interval_stay_within_0_and_1_and_in_order(ship: int, skip: int) -> None:
    part, interval = share(ship, skip), wilson(ship, skip)
    if part is None or interval is None:
        assert (ship + skip, part, interval) == (0, None, None)
        return
    assert 0 <= interval[0] <= part <= interval[1] <= 1
    assert {each.as_tuple().exponent for each in (part, *interval)} == {-4}


@given(counts, counts)
def test_the_interval_of_the_opposite_is_its_mirror(ship: int, skip: int) -> None:
    one, other = wilson(ship, skip), wilson(skip, ship)
    if one is not None and other is not None:
        assert abs(one[0] - (1 - other[1])) <= Decimal("0.0001")


def test_the_interval_of_unanimous_votes_ends_at_0_or_1() -> None:
    assert wilson(0, 5) == (Decimal("0.0000"), Decimal("0.4345"))
    assert wilson(5, 0) == (Decimal("0.5655"), Decimal("1.0000"))


def test_without_votes_there_is_no_share_interval_or_mean() -> None:
    assert (share(0, 0), wilson(0, 0), mean([])) == (None, None, None)


@pytest.mark.parametrize(
    ("ship", "skip", "expected"),
    [
        (1, 2, "0.3333"),
        (2, 1, "0.6667"),
        (3, 1, "0.7500"),
        (1, 0, "1.0000"),
        (0, 1, "0.0000"),
        (1, 10**9, "0.0000"),
    ],
)
def test_a_share_has_four_places(ship: int, skip: int, expected: str) -> None:
    assert str(share(ship, skip)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0.00005", "0.0000"), ("0.00015", "0.0002"), ("0.00025", "0.0002"), ("1", "1.0000")],
)
def test_halves_are_rounded_to_even(value: str, expected: str) -> None:
    assert str(four_places(Decimal(value))) == expected


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([88, 82, 85, 79], "83.5"), ([1, 1, 2], "1.3"), ([1, 2, 2], "1.7"), ([0], "0.0"), ([100, 100], "100.0")],
)
def test_a_mean_has_one_place(scores: list[int], expected: str) -> None:
    assert str(mean(scores)) == expected


def test_a_mean_of_an_exact_half_goes_to_even() -> None:
    assert str(mean([0, 0, 0, 1])) == "0.2"
    assert str(mean([0, 1, 1, 1])) == "0.8"
