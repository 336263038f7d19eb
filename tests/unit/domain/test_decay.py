"""Decay: weights equal exact powers, halve after a half-life, and count only within the window."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.rulebooks.rulebook import Community
from domain.verdicts.decay import Ballots, DayVotes, WeightedVotes, weigh, weigh_days, weights

TODAY = 20_000
SIXTY = Community(weight=1, half_life_days=60)
LAST_WEEK = Community(weight=1, window_days=7)


def cast(*days: tuple[int, int, int]) -> Ballots:
    """Each (days ago, ship, skip)."""
    votes = tuple(DayVotes(TODAY - ago, ship, skip) for ago, ship, skip in days)
    return Ballots(sum(each.ship for each in votes), sum(each.skip for each in votes), TODAY, votes)


def parts(weighed: WeightedVotes) -> tuple[int, Fraction, Fraction]:
    """Count, ship and total, where a vote cast today weighs 1."""
    return (
        weighed.count,
        Fraction(weighed.ship, weighed.vote_weight_today),
        Fraction(weighed.total, weighed.vote_weight_today),
    )


@pytest.mark.parametrize("half_life", [7, 60, 365, 3_650])
@settings(deadline=None)
@given(days=st.integers(0, 30_000))
def test_a_weight_is_the_power_of_two_rounded_down(half_life: int, days: int) -> None:
    """2**(32 + days/half_life), compared by the half-life-th power of both sides."""
    halves, rest = divmod(days, half_life)
    weight = weights(Community(weight=1, half_life_days=half_life), 0)[days]
    assert weight % 2**halves == 0
    root = weight >> halves
    if half_life < 3_650:  # such powers have 120,000 digits
        assert root**half_life <= 2 ** (32 * half_life + rest) < (root + 1) ** half_life
    assert abs(root / 2 ** (32 + rest / half_life) - 1) < 1e-9


def test_a_vote_weighs_half_as_much_after_a_half_life_exactly() -> None:
    assert parts(weigh(cast((60, 1, 0), (0, 0, 1)), SIXTY)) == (2, Fraction(1, 2), Fraction(3, 2))
    assert parts(weigh(cast((600, 1, 0), (0, 0, 1)), SIXTY)) == (2, Fraction(1, 1024), Fraction(1025, 1024))


def test_thirty_days_of_sixty_weigh_the_root_of_a_half() -> None:
    _, ship, _ = parts(weigh(cast((30, 1, 0), (0, 0, 1)), SIXTY))
    assert abs(ship * ship - Fraction(1, 2)) < Fraction(1, 2**31)


def test_only_days_in_the_window_count_and_today_is_the_first() -> None:
    ballots = cast((7, 100, 100), (6, 2, 1), (0, 1, 1))
    assert parts(weigh(ballots, LAST_WEEK)) == (5, 3, 5)
    assert weigh_days(ballots, LAST_WEEK).ship == [1, 2]


def test_window_and_half_life_together() -> None:
    both = Community(weight=1, half_life_days=7, window_days=14)
    assert parts(weigh(cast((14, 9, 9), (7, 2, 0), (0, 0, 1)), both)) == (3, 1, 2)


def test_all_days_outside_the_window_leave_nothing() -> None:
    assert parts(weigh(cast((7, 5, 5)), LAST_WEEK)) == (0, 0, 0)


def test_all_votes_old_weigh_less_than_one() -> None:
    count, ship, total = parts(weigh(cast((600, 3, 1)), SIXTY))
    assert (count, ship, total) == (4, Fraction(3, 1024), Fraction(4, 1024))


@pytest.mark.parametrize("community", [SIXTY, LAST_WEEK, Community(weight=1)])
def test_no_votes_weigh_nothing(community: Community) -> None:
    assert parts(weigh(Ballots(), community)) == (0, 0, 0)


def test_days_are_not_read_where_votes_cannot_decide() -> None:
    shown_only = Community(half_life_days=60, window_days=7)
    assert parts(weigh(Ballots(3, 1), shown_only)) == (4, 3, 4)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 9), st.integers(0, 9)),
        max_size=6,
        unique_by=lambda d: d[0],
    )
)
def test_sums_of_days_add(days: list[tuple[int, int, int]]) -> None:
    """Weights never change, so a sum never has to be computed again."""
    whole = parts(weigh(cast(*days), SIXTY))
    each = [parts(weigh(cast(day), SIXTY)) for day in days]
    assert whole == tuple(sum(column) for column in zip((0, Fraction(0), Fraction(0)), *each, strict=True))
