"""Rankings: whole numbers, greater first, the same order on every page."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ages import Ballots
from domain.named_rulebooks import DEFAULT
from domain.rankings import Rank, Sort, rank
from domain.verdicts import Judgement, Verdict, judge


def verdict(ship: int = 0, skip: int = 0, *takes: Judgement) -> Verdict:
    return judge(takes, Ballots(ship, skip), DEFAULT)


def top(one: Verdict) -> Rank:
    return rank("top", one, 0)


def controversial(one: Verdict) -> Rank:
    return rank("controversial", one, 0)


BUILDER = Judgement("builder", 90, "ship")
LESSER = Judgement("builder", 40, "ship")


def test_top_is_by_the_lower_bound_so_that_one_vote_does_not_lead() -> None:
    assert top(verdict(90, 10)) > top(verdict(1, 0))


def test_top_before_votes_is_by_the_panel() -> None:
    assert top(verdict(0, 0, BUILDER)) > top(verdict(0, 0, LESSER)) > top(verdict(0, 0))


def test_any_votes_are_more_than_none() -> None:
    assert top(verdict(0, 9)) > top(verdict(0, 0, BUILDER))


def test_hot_is_by_recent_casts() -> None:
    assert rank("hot", verdict(), 3) > rank("hot", verdict(90, 10), 2)


def test_hot_among_equally_recent_is_top() -> None:
    assert rank("hot", verdict(90, 10), 2) > rank("hot", verdict(10, 90), 2)


def test_most_voted_is_by_total() -> None:
    assert rank("most-voted", verdict(1, 9), 0) > rank("most-voted", verdict(9, 0), 0)


@pytest.mark.parametrize(
    ("more", "less"),
    [((50, 50), (90, 10)), ((60, 60), (50, 50)), ((1, 1), (0, 0)), ((1, 1), (500, 0)), ((60, 40), (5, 5))],
)
def test_controversial_is_many_votes_evenly_split(more: tuple[int, int], less: tuple[int, int]) -> None:
    assert controversial(verdict(*more)) > controversial(verdict(*less))


def test_new_is_by_the_tool_number_alone() -> None:
    assert rank("new", verdict(90, 10, BUILDER), 5) == ()


@given(st.sampled_from(get_args(Sort)), st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**9))
def test_a_rank_is_whole_numbers_of_one_length(sort: Sort, ship: int, skip: int, recent: int) -> None:
    ranked = rank(sort, verdict(ship, skip, BUILDER), recent)
    assert all(type(each) is int for each in ranked)
    assert len(ranked) == len(rank(sort, verdict(), 0))
