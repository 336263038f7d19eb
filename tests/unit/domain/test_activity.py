"""Recent activity: votes decay by half in a half-life, and a trend is more than chance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy.stats import binomtest

from domain.verdicts.activity import (
    HALF_LIFE_DAYS,
    HALF_LIVES_MAX,
    WEIGHTS,
    RecentActivity,
    day_and_hours,
    weight,
)

LAST = HALF_LIFE_DAYS * HALF_LIVES_MAX
ages = st.integers(0, LAST)
hours = st.integers(25, 48)
activities = st.builds(RecentActivity, recent=st.integers(0, 10**6), past=st.integers(0, 10**8), hours=hours)


@given(ages)
def test_a_weight_halves_after_a_half_life(age: int) -> None:
    assert weight(age + HALF_LIFE_DAYS) == weight(age) // 2


@given(ages)
def test_a_weight_is_the_power_rounded_down(age: int) -> None:
    """floor(x) = w when w^2 <= 2^(32 - age) < (w + 1)^2."""
    assert weight(age) ** 2 <= 2 ** (LAST - age) < (weight(age) + 1) ** 2


def test_weights_fall_to_one_and_then_to_zero() -> None:
    assert WEIGHTS[0] == 2**16
    assert sorted(WEIGHTS, reverse=True) == WEIGHTS
    assert (len(WEIGHTS), WEIGHTS[-1], weight(LAST + 1)) == (33, 1, 0)


@given(st.lists(ages, max_size=20), st.integers(0, 40))
def test_the_order_of_decayed_votes_does_not_change_with_time(cast: list[int], wait: int) -> None:
    """A tool whose votes were each cast a day earlier than another's never overtakes it."""
    assert sum(weight(age + wait) for age in cast) >= sum(weight(age + 1 + wait) for age in cast)


@pytest.mark.parametrize(
    ("hour", "day", "since_yesterday"), [(0, 0, 25), (23, 0, 48), (24, 1, 25), (490_860, 20_452, 37)]
)
def test_recent_hours_count_from_the_start_of_yesterday(hour: int, day: int, since_yesterday: int) -> None:
    assert day_and_hours(hour) == (day, since_yesterday)


def test_a_steady_rate_or_fewer_than_five_votes_do_not_trend() -> None:
    assert not RecentActivity(recent=20, past=280, hours=48).trends
    assert not RecentActivity(recent=4, past=0).trends
    assert not RecentActivity(recent=0, past=0).trends
    assert not RecentActivity(recent=5, past=10**6).trends
    assert RecentActivity(recent=5, past=0).trends
    assert RecentActivity(recent=50, past=280).trends


def test_the_same_votes_in_fewer_hours_are_a_higher_rate() -> None:
    assert RecentActivity(recent=30, past=280, hours=25).trends
    assert not RecentActivity(recent=30, past=280, hours=48).trends


@given(st.sampled_from([0, 28, 280, 2_800, 28_000]), hours)
def test_a_trend_is_chance_at_most_once_in_fifty_times(past: int, hours: int) -> None:
    """The first count that trends, by the exact binomial test."""
    first = next(n for n in range(5, 10_000) if RecentActivity(recent=n, past=past, hours=hours).trends)
    chance = binomtest(first, first + past, hours / (hours + 672), alternative="greater").pvalue
    assert chance < 1 / 50


def test_growth_is_the_recent_rate_over_the_past_rate() -> None:
    assert (
        RecentActivity(recent=0, past=0).growth
        == RecentActivity(recent=200, past=2_800, hours=48).growth
        == 10**9
    )
    assert RecentActivity(recent=90, past=140, hours=48).growth == 5 * 10**9
    assert RecentActivity(recent=0, past=140, hours=48).growth == 10**9 // 2


@given(activities)
def test_growth_rises_with_recent_votes_and_falls_with_past_ones(recent_activity: RecentActivity) -> None:
    more, before = (
        replace(recent_activity, recent=recent_activity.recent + 1),
        replace(recent_activity, past=recent_activity.past + 1),
    )
    assert more.growth > recent_activity.growth >= before.growth
    assert more.trends >= recent_activity.trends
