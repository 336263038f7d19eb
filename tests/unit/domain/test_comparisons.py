"""Comparisons: the clauses in order, and the mirrored result for the mirrored pair."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.rulebooks.presets import DEFAULT
from domain.verdicts.comparisons import Winner, winner
from domain.verdicts.decay import Ballots
from domain.verdicts.verdict import Judgement, Verdict, judge

NAMES = ("Left", "Right")
REVIEWERS = ("builder", "skeptic", "founder", "pm")


def verdict(*judged: tuple[int, str], votes: tuple[int, int] = (0, 0)) -> Verdict:
    panel = [
        Judgement(reviewer, score, choice)  # type: ignore[arg-type]
        for reviewer, (score, choice) in zip(REVIEWERS, judged, strict=False)
    ]
    return judge(panel, Ballots(*votes), DEFAULT)


CLEAR, MIXED = verdict((80, "ship")), verdict((80, "ship"), (80, "skip"))
HIGHER, LOWER = verdict((81, "ship")), verdict((80, "ship"))
LIKED, DISLIKED = verdict(votes=(9, 1)), verdict(votes=(1, 9))
NOTHING = verdict()


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        pytest.param(CLEAR, MIXED, Winner("left", "Left", "panel share"), id="higher panel share"),
        pytest.param(MIXED, CLEAR, Winner("right", "Right", "panel share"), id="lower panel share"),
        pytest.param(HIGHER, LOWER, Winner("left", "Left", "mean score"), id="higher mean score"),
        pytest.param(LIKED, DISLIKED, Winner("left", "Left", "community lower bound"), id="better liked"),
        pytest.param(NOTHING, NOTHING, Winner(None, "Toss-up", "none"), id="nothing on either side"),
        pytest.param(CLEAR, CLEAR, Winner(None, "Toss-up", "none"), id="the same on both sides"),
        pytest.param(
            verdict((1, "skip")), NOTHING, Winner("left", "Left", "panel share"), id="0 is more than none"
        ),
        pytest.param(
            DISLIKED,
            NOTHING,
            Winner("left", "Left", "community lower bound"),
            id="a bad tally is more than none",
        ),
        pytest.param(
            verdict((60, "ship"), votes=(0, 99)),
            verdict((59, "ship"), votes=(99, 0)),
            Winner("left", "Left", "mean score"),
            id="an earlier clause goes first",
        ),
    ],
)
def test_the_first_clause_in_which_they_differ_decides(
    left: Verdict, right: Verdict, expected: Winner
) -> None:
    assert winner(left, right, NAMES, DEFAULT) == expected


def test_the_lower_bound_decides_and_not_the_share() -> None:
    few, many = verdict(votes=(1, 0)), verdict(votes=(90, 10))
    assert winner(few, many, NAMES, DEFAULT) == Winner("right", "Right", "community lower bound")


judged = st.lists(st.tuples(st.integers(0, 100), st.sampled_from(["ship", "skip"])), max_size=4)
verdicts = st.builds(
    lambda panel, votes: verdict(*panel, votes=votes),
    judged,
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
MIRROR = {"left": "right", "right": "left", None: None}


@given(verdicts, verdicts)
def test_either_order_is_the_same_comparison(left: Verdict, right: Verdict) -> None:
    there, back = winner(left, right, NAMES, DEFAULT), winner(right, left, NAMES[::-1], DEFAULT)
    assert (back.side, back.label, back.clause) == (MIRROR[there.side], there.label, there.clause)
