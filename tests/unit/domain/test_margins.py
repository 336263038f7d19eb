"""Margins of takes: the least share of a subset of given size equals the minimum over all of them."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.verdicts.margins import least_share, panel_share

takes = st.lists(st.tuples(st.integers(1, 1_000), st.integers(0, 100)), min_size=1, max_size=6)


@settings(deadline=None)
@given(takes)
def test_the_least_share_is_the_minimum_over_all_subsets(takes: list[tuple[int, int]]) -> None:
    for kept in range(1, len(takes) + 1):
        assert least_share(takes, kept) == min(map(panel_share, combinations(takes, kept)))
