"""Leaps: which stretches of votes can flip a verdict, and which cannot."""

from __future__ import annotations

import pytest

from domain.rulebooks.rulebook import Community, Panel, Rulebook, normalize
from domain.timeline.running_votes import RunningVotes
from domain.timeline.timeline import VerdictTimeline
from domain.timeline.transitions import TRANSITIONS
from domain.timeline.vote_delta import VoteDelta

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
        pytest.param((0, 8), VoteDelta(skip_in=1), False, id="too few all the way"),
        pytest.param((0, 9), VoteDelta(skip_in=1), True, id="enough at the end"),
        pytest.param((5, 8), VoteDelta(ship_in=2), False, id="not as many"),
        pytest.param((5, 8), VoteDelta(ship_in=3), True, id="as many"),
        pytest.param((5, 8), VoteDelta(ship_in=2, skip_out=1), True, id="as many, one side gone"),
        pytest.param((9, 9), VoteDelta(ship_in=1, skip_in=1), True, id="a tie that ends as one"),
        pytest.param((50, 8), VoteDelta(40, 40, 2, 2), True, id="at worst 10 to 10"),
        pytest.param((50, 8), VoteDelta(40, 39, 2, 2), False, id="at worst 11 to 10"),
        pytest.param((50, 8), VoteDelta(40, 37, 2, 2), False, id="at worst 13 to 10"),
    ],
)
def test_can_flip(votes: tuple[int, int], delta: VoteDelta, can_flip: bool) -> None:
    assert timeline(*votes).can_flip(delta) == can_flip


def test_a_leap_moves_the_votes_and_keeps_the_label() -> None:
    leaping = timeline(50, 8)
    leaping.fast_forward(VoteDelta(40, 37, 2, 2))
    assert (leaping.votes.ship, leaping.votes.skip, leaping.label) == (53, 8, "Ship")


def test_a_copy_goes_its_own_way() -> None:
    first = timeline(50, 8)
    second = first.copy()
    second.follow([(0, 1, 1, TRANSITIONS[5], 0)])
    assert ((first.votes.ship, first.votes.skip), (second.votes.ship, second.votes.skip)) == (
        (50, 8),
        (49, 9),
    )
