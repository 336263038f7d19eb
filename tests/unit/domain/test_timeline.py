"""Fast forward: a slice is skipped if none of its votes can flip the verdict; aged votes are rescaled exactly."""

from __future__ import annotations

from fractions import Fraction

import pytest

from domain.rulebooks.rulebook import Community, Panel, Rulebook, normalize
from domain.timeline.aged_votes import AgedVotes
from domain.timeline.running_votes import RunningVotes
from domain.timeline.timeline import VerdictTimeline
from domain.timeline.transitions import TRANSITIONS
from domain.timeline.vote_delta import VoteDelta, VotesByDay
from domain.verdicts.decay import Ballots, DayVotes, weigh

ALONE = normalize(Rulebook("alone", panel=Panel(weight=0), community=Community(weight=1, minimum=10)))


def timeline(ship: int, skip: int) -> VerdictTimeline:
    label = (
        "Unreviewed" if ship + skip < 10 else "Ship" if ship > skip else "Skip" if ship < skip else "Split"
    )
    return VerdictTimeline(1, ALONE, label=label, votes=RunningVotes(ship, skip))


@pytest.mark.parametrize(
    ("votes", "delta", "can_flip"),
    [
        pytest.param((0, 10), VoteDelta(skip_in=1, skip_out=1), True, id="below the minimum on the way"),
        pytest.param((0, 11), VoteDelta(skip_in=1, skip_out=1), False, id="not below the minimum"),
        pytest.param((0, 8), VoteDelta(skip_in=1), False, id="too few throughout"),
        pytest.param((0, 9), VoteDelta(skip_in=1), True, id="enough at the end"),
        pytest.param((5, 8), VoteDelta(ship_in=2), False, id="fewer for ship"),
        pytest.param((5, 8), VoteDelta(ship_in=3), True, id="a tie"),
        pytest.param((5, 8), VoteDelta(ship_in=2, skip_out=1), True, id="a tie after a removal"),
        pytest.param((9, 9), VoteDelta(ship_in=1, skip_in=1), True, id="a tie before and after"),
        pytest.param((50, 8), VoteDelta(40, 40, 2, 2), True, id="10 to 10 at the lowest"),
        pytest.param((50, 8), VoteDelta(40, 39, 2, 2), False, id="11 to 10 at the lowest"),
        pytest.param((50, 8), VoteDelta(40, 37, 2, 2), False, id="13 to 10 at the lowest"),
    ],
)
def test_a_slice_is_skipped_only_if_no_order_of_its_votes_flips_the_verdict(
    votes: tuple[int, int], delta: VoteDelta, can_flip: bool
) -> None:
    assert timeline(*votes).fast_forward(delta, None) == (None if can_flip else [])


def test_fast_forward_moves_the_votes_and_keeps_the_label() -> None:
    after = timeline(50, 8)
    assert after.fast_forward(VoteDelta(40, 37, 2, 2), None) == []
    assert (after.votes.ship, after.votes.skip, after.label) == (53, 8, "Ship")


def test_a_timeline_is_unchanged_if_a_slice_cannot_be_skipped() -> None:
    before = timeline(50, 8)
    assert before.fast_forward(VoteDelta(40, 40, 2, 2), None) is None
    assert (before.votes.ship, before.votes.skip, before.label) == (50, 8, "Ship")


def test_folding_a_copy_does_not_change_the_original() -> None:
    first = timeline(50, 8)
    second = first.copy()
    second.fold([(0, 1, 1, TRANSITIONS["skip", "ship"], 0)])
    assert ((first.votes.ship, first.votes.skip), (second.votes.ship, second.votes.skip)) == (
        (50, 8),
        (49, 9),
    )


@pytest.mark.parametrize("window", [None, 30])
def test_weights_are_rescaled_if_a_vote_is_older_than_all_before(window: int | None) -> None:
    community = Community(weight=1, half_life_days=7, window_days=window)
    votes = AgedVotes(community, {}, None)
    for day, ship, skip in ((700, 3, 1), (720, 0, 2), (690, 5, 0), (699, 1, 1)):
        votes.advance_to(day)
        votes.add(day, ship, skip)
    days = (DayVotes(690, 5, 0), DayVotes(699, 1, 1), DayVotes(700, 3, 1), DayVotes(720, 0, 2))
    expected = weigh(Ballots(9, 4, 720, days), community)
    found = votes.weighed()
    assert found.count == expected.count
    assert Fraction(found.ship, found.total) == Fraction(expected.ship, expected.total)
    assert Fraction(found.total, found.vote_weight_today) == Fraction(
        expected.total, expected.vote_weight_today
    )


def test_a_delta_with_older_days_is_weighed_on_the_scale_of_the_sums() -> None:
    community = Community(weight=1, half_life_days=7)
    votes = AgedVotes(community, {700: [3, 1]}, 700)
    delta = VoteDelta(ship_in=2, until=700, added=VotesByDay([650], [2], [0]))
    votes.fast_forward(delta, votes.weigh(delta))
    expected = weigh(Ballots(5, 1, 700, (DayVotes(650, 2, 0), DayVotes(700, 3, 1))), community)
    assert votes.weighed() == expected
