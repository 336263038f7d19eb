"""Plots: the lengths of the bars match the counts, and no flip is left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.site.plots import HALF, dumbbells, takes_distribution, timeline, votes_distribution
from services.api.views.trials import RankMove

NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
moments = st.datetimes(datetime(2010, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


def test_there_is_no_plot_without_flips() -> None:
    assert timeline([], []) is None


def test_one_side_is_drawn_without_the_other() -> None:
    plot = timeline([], [NOON, NOON])
    assert plot is not None
    assert [(each.tried, each.in_force, each.up, each.down) for each in plot.periods] == [(0, 2, 0, HALF)]


@pytest.mark.parametrize(
    ("days", "unit", "ticks"),
    [
        (0, "day", ["31 March 2026"]),
        (47, "day", ["31 March 2026", "24 April 2026", "17 May 2026"]),
        (48, "week", ["30 March 2026", "27 April 2026", "18 May 2026"]),
        (400, "month", ["March 2026", "October 2026", "May 2027"]),
        (4_000, "quarter", ["January 2026", "July 2031", "January 2037"]),
        (9_000, "year", ["2026", "2038", "2050"]),
    ],
)
def test_the_unit_is_the_shortest_with_at_most_48_periods(days: int, unit: str, ticks: list[str]) -> None:
    plot = timeline([NOON, NOON + timedelta(days)], [])
    assert plot is not None
    assert (plot.unit, [words for words, _, _ in plot.ticks]) == (unit, ticks)


@given(st.lists(moments, min_size=1, max_size=60), st.lists(moments, max_size=60))
def test_every_flip_is_in_one_bar(tried: list[datetime], in_force: list[datetime]) -> None:
    plot = timeline(tried, in_force)
    assert plot is not None
    assert sum(each.tried for each in plot.periods) == len(tried)
    assert sum(each.in_force for each in plot.periods) == len(in_force)
    assert len(plot.periods) <= 48
    assert [each.start for each in plot.periods] == sorted({each.start for each in plot.periods})
    assert all(0 < each.x < 100 and max(each.up, each.down) <= HALF for each in plot.periods)


def test_margins_are_counted_by_range_with_one_row_for_none() -> None:
    rows = votes_distribution([1, 2, 3, 5, 6, None], [None, None, 300, 301, 10**9])
    assert {row.name: (row.in_force, row.tried) for row in rows if row.in_force or row.tried} == {
        "1": (1, 0),
        "2": (1, 0),
        "3 to 5": (2, 0),
        "6 to 10": (1, 0),
        "101 to 300": (0, 1),
        "301 and more": (0, 2),
        "None": (1, 2),
    }
    assert max(row.would for row in rows) == 100
    assert [row.name for row in takes_distribution([], [])] == ["1", "2", "3", "4", "5 and more", "None"]


def test_the_first_rank_is_left_of_the_last() -> None:
    (moved,) = dumbbells([RankMove("quill", "Quill", 9, 1)], 9)
    assert 0 < moved.would < moved.was < 100
    (row,) = dumbbells([RankMove("quill", "Quill", 1, 1)], 1)
    assert row.was == row.would
