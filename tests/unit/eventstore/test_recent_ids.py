"""Recent ids: an id belongs to the vote that used it first, until it is forgotten."""

from __future__ import annotations

from uuid import uuid4

from eventstore.ids import mint
from eventstore.recent_ids import RecentIds

ACTOR, OTHER = uuid4(), uuid4()


def test_an_id_can_be_claimed_again_for_its_vote_only() -> None:
    recent, sent = RecentIds(), mint()
    assert recent.claim(sent, ACTOR, "7", "ship")
    assert recent.claim(sent, ACTOR, "7", "ship")
    assert not recent.claim(sent, OTHER, "7", "ship")
    assert not recent.claim(sent, ACTOR, "8", "ship")
    assert recent.claim(sent, ACTOR, "7", "ship")


def test_an_id_belongs_to_the_choice_that_used_it() -> None:
    recent, (first, second) = RecentIds(), (mint() for _ in range(2))
    assert recent.claim(first, ACTOR, "7", "ship")
    assert not recent.claim(first, ACTOR, "7", "skip")
    assert not recent.claim(first, ACTOR, "7", None)
    assert recent.claim_new([second], [ACTOR], ["7"], ["skip"])
    assert not recent.claim(second, ACTOR, "7", "ship")


def test_the_ids_of_a_batch_are_compared_with_each_other_and_with_earlier_ones() -> None:
    recent, (first, second, third) = RecentIds(), (mint() for _ in range(3))
    assert recent.claim(first, ACTOR, "7", "ship")
    assert not recent.claim_new([first, second], [ACTOR, ACTOR], ["7", "7"], ["ship", "ship"])
    assert not recent.claim_new([second, second], [ACTOR, ACTOR], ["7", "7"], ["ship", "ship"])
    assert recent.claim_new([second, third], [ACTOR, OTHER], ["7", "7"], ["ship", "ship"])
    assert recent.claim(third, OTHER, "7", "ship")
    assert not recent.claim(third, ACTOR, "7", "ship")


def test_the_newest_ids_are_remembered_and_old_ones_forgotten() -> None:
    recent, ids = RecentIds(generation_max=10), [mint() for _ in range(30)]
    for each in ids:
        assert recent.claim(each, ACTOR, "7", "ship")
    assert not any(recent.claim(each, OTHER, "7", "ship") for each in ids[-10:])
    assert recent.claim(ids[0], OTHER, "7", "ship")
