"""Rankings: published values, whole numbers, total orders."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy.stats import binomtest, norm

from domain.rulebooks.presets import DEFAULT, PRESETS
from domain.verdicts.activity import RecentActivity
from domain.verdicts.rankings import Contender, Rank, Sort, controversy, rank
from domain.verdicts.statistics import wilson_lower_bound

PLACES = 10**30
MINIMUM = DEFAULT.community.minimum
SORTS: tuple[Sort, ...] = get_args(Sort)

counts = st.integers(0, 10**12)
small = st.integers(0, 40)
recent_activity = st.builds(
    RecentActivity, decayed_votes=st.integers(0, 10**20), recent=small, past=st.integers(0, 10**6)
)
contenders = st.builds(
    Contender,
    ship=small,
    skip=small,
    takes_ship=st.integers(0, 5),
    takes_skip=st.integers(0, 5),
    recent_activity=recent_activity,
)


def contender(ship: int = 0, skip: int = 0, *scores: int) -> Contender:
    """With one take for ship for each score."""
    return Contender(ship, skip, len(scores), 0, sum(scores))


def top(tool: Contender) -> Rank:
    return rank("top", tool, DEFAULT)


@pytest.mark.parametrize(
    ("successes", "total", "published"),
    [(81, 263, "0.2553"), (15, 148, "0.0624"), (0, 20, "0.0000"), (1, 29, "0.0061")],
)
def test_the_lower_bound_is_that_of_newcombe_1998(successes: int, total: int, published: str) -> None:
    """Table I, method 3."""
    printed = wilson_lower_bound(successes, total - successes, Decimal("1.96"))
    assert abs(Decimal(printed) / PLACES - Decimal(published)) <= Decimal("0.00006")


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_lower_bound_is_scipys(ship: int, skip: int) -> None:
    if ship + skip:
        interval = binomtest(ship, ship + skip).proportion_ci(2 * norm.cdf(1.96) - 1, method="wilson")
        assert wilson_lower_bound(ship, skip) / PLACES == pytest.approx(interval.low, abs=1e-12)


@given(counts, counts)
def test_the_lower_bound_is_rounded_down_at_thirty_places(ship: int, skip: int) -> None:
    """``low`` is the share at which the score is z: (p - low)^2 n = z^2 low (1 - low), p above low."""
    total = ship + skip
    if not total:
        return
    low = wilson_lower_bound(ship, skip)

    def not_below(units: int) -> bool:
        over = ship * PLACES - units * total
        return over >= 0 and over * over * 10**8 >= 19_600**2 * units * (PLACES - units) * total

    assert not_below(low)
    assert low == PLACES or not not_below(low + 1)


@given(counts, counts)
def test_a_ship_vote_raises_top_and_a_skip_vote_never_raises_the_lower_bound(ship: int, skip: int) -> None:
    assert top(contender(ship + 1, skip)) > top(contender(ship, skip))
    assert wilson_lower_bound(ship, skip + 1) <= wilson_lower_bound(ship, skip)


@given(counts, counts)
def test_a_skip_vote_lowers_top_unless_it_completes_the_quorum(ship: int, skip: int) -> None:
    before, after = top(contender(ship, skip)), top(contender(ship, skip + 1))
    assert after[0] > before[0] or after < before


def test_top_distinguishes_shares_that_are_equal_in_four_places() -> None:
    assert top(contender(1_000_001, 10)) > top(contender(1_000_000, 10))
    assert top(contender(1_000_000, 10)) > top(contender(1_000_000, 11))


def test_preliminary_tallies_come_last() -> None:
    settled = contender(1, MINIMUM - 1)
    assert top(settled) > top(contender(MINIMUM - 1, 0, 90)) > top(contender(0, 0, 90))
    assert rank("top", contender(9, 0), PRESETS["community-veto"]) < rank(
        "top", contender(1, 29), PRESETS["community-veto"]
    )


def test_top_without_votes_for_ship_is_by_the_panel_and_then_fewer_votes() -> None:
    assert top(contender(0, 0, 90)) > top(contender(0, 0, 40)) > top(contender()) > top(contender(0, 9))
    assert top(contender(0, 9, 90)) > top(contender())
    assert top(replace(contender(), takes_ship=1, takes_skip=2)) < top(
        replace(contender(), takes_ship=2, takes_skip=4, score_total=9)
    )


def test_top_falls_with_each_vote_that_turns_from_ship_to_skip() -> None:
    votes = [contender(100 - skip, skip) for skip in range(101)]
    assert sorted(votes, key=top, reverse=True) == votes


def test_hot_is_by_decayed_votes_and_then_top() -> None:
    warm, cold = (
        replace(contender(0, 50), recent_activity=RecentActivity(decayed_votes=2)),
        replace(contender(90, 10), recent_activity=RecentActivity(decayed_votes=1)),
    )
    assert rank("hot", warm, DEFAULT) > rank("hot", cold, DEFAULT)
    assert rank("hot", contender(90, 10), DEFAULT) > rank("hot", contender(10, 90), DEFAULT)


def test_trending_is_by_growth_beyond_chance_first_and_then_by_growth() -> None:
    ranks = [
        rank("trending", replace(contender(90, 10), recent_activity=each), DEFAULT)
        for each in (
            RecentActivity(0, 300, 28),
            RecentActivity(0, 10_000, 28_000),
            RecentActivity(0, 10, 0),
            RecentActivity(0, 4, 0),
            RecentActivity(0, 0, 28),
        )
    ]
    assert ranks == sorted(ranks, reverse=True)
    assert [each[0] for each in ranks] == [1, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("ups", "downs", "score"),
    [
        (0, 0, 0.0),
        (1, 0, 0.0),
        (0, 500, 0.0),
        (1, 1, 2.0),
        (100, 100, 200.0),
        (60, 40, 100 ** (40 / 60)),
        (90, 10, 100 ** (1 / 9)),
    ],
)
def test_controversy_is_reddits(ups: int, downs: int, score: float) -> None:
    """``controversy(ups, downs)`` of r2/lib/db/_sorts.pyx: 0 where either is 0, else magnitude ** balance."""
    assert controversy(ups, downs) == controversy(downs, ups) == round(score * 10**6)


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_controversy_is_the_power_computed_with_floats(ship: int, skip: int) -> None:
    expected = (ship + skip) ** (min(ship, skip) / max(ship, skip))
    assert controversy(ship, skip) / 10**6 == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(st.integers(1, 10**12))
def test_the_controversy_of_an_even_split_is_its_total(each: int) -> None:
    assert controversy(each, each) == 2 * each * 10**6


def test_most_voted_is_by_total() -> None:
    assert rank("most-voted", contender(1, 9), DEFAULT) > rank("most-voted", contender(9, 0), DEFAULT)


def test_new_has_no_rank_of_its_own() -> None:
    assert rank("new", contender(90, 10, 80), DEFAULT) == ()


@given(st.sampled_from(SORTS), st.lists(contenders, max_size=8), st.randoms(use_true_random=False))
def test_an_order_is_total_and_independent_of_the_input_order(
    sort: Sort, tools: list[Contender], chance: Random
) -> None:
    """The tool's number, which every list appends, breaks ties."""
    ranked = [(*rank(sort, tool, DEFAULT), number) for number, tool in enumerate(tools)]
    shuffled = chance.sample(ranked, len(ranked))
    assert len(set(ranked)) == len(tools)
    assert sorted(shuffled) == sorted(ranked)


@given(st.sampled_from(SORTS), counts, counts, recent_activity)
def test_a_rank_is_whole_numbers_of_one_length(
    sort: Sort, ship: int, skip: int, recent_activity: RecentActivity
) -> None:
    ranked = rank(sort, Contender(ship, skip, 1, 0, 88, recent_activity), DEFAULT)
    assert all(type(each) is int for each in ranked)
    assert len(ranked) == len(rank(sort, contender(), DEFAULT))
