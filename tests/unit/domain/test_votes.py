"""Ballots: the newest id wins, and every cast has an answer."""

from __future__ import annotations

from functools import reduce
from itertools import permutations

import pytest

from domain.voting.votes import BLANK, Ballot, Cast, CastDecision, decide, evolve
from eventstore.ids import mint
from tests.support.specification import Specification

ballot = Specification(BLANK, evolve, lambda cast, state: decide(state, cast))
FIRST, SECOND, THIRD = (mint() for _ in range(3))


def test_a_first_vote_counts() -> None:
    ballot.given().when(Cast(FIRST, "ship")).then(CastDecision("counted", "ship", None))


def test_a_change_counts_and_names_what_it_replaced() -> None:
    ballot.given(Cast(FIRST, "ship")).when(Cast(SECOND, "skip")).then(CastDecision("counted", "skip", "ship"))


def test_a_retraction_counts_and_leaves_no_choice() -> None:
    ballot.given(Cast(FIRST, "ship")).when(Cast(SECOND, None)).then(CastDecision("counted", None, "ship"))


def test_retracting_nothing_changes_nothing() -> None:
    ballot.given().when(Cast(FIRST, None)).then(CastDecision("unchanged", None, None))


def test_a_vote_after_a_retraction_replaces_nothing() -> None:
    given = ballot.given(Cast(FIRST, "ship"), Cast(SECOND, None))
    given.when(Cast(THIRD, "ship")).then(CastDecision("counted", "ship", None))


def test_the_same_choice_again_is_unchanged() -> None:
    ballot.given(Cast(FIRST, "ship")).when(Cast(SECOND, "ship")).then(CastDecision("unchanged", "ship", None))


def test_an_unchanged_vote_still_updates_the_id() -> None:
    given = ballot.given(Cast(FIRST, "ship"), Cast(THIRD, "ship"))
    given.when(Cast(SECOND, "skip")).then(CastDecision("superseded", "ship", None))


def test_an_older_id_is_superseded_by_the_newest() -> None:
    ballot.given(Cast(SECOND, "ship")).when(Cast(FIRST, "skip")).then(
        CastDecision("superseded", "ship", None)
    )


@pytest.mark.parametrize("choice", ["ship", "skip", None])
def test_a_repeated_cast_gets_the_same_answer(choice: str | None) -> None:
    before, cast = ballot.given(Cast(FIRST, "ship")), Cast(SECOND, choice)
    ballot.given(Cast(FIRST, "ship"), cast).when(cast).then(before.when(cast).decided())


@pytest.mark.parametrize("choice", ["skip", None])
def test_a_repeated_id_with_another_choice_is_a_conflict_and_keeps_the_first_choice(
    choice: str | None,
) -> None:
    given = ballot.given(Cast(FIRST, "ship"))
    given.when(Cast(FIRST, choice)).then(CastDecision("conflict", "ship", None))


def test_the_id_that_changed_the_ballot_last_is_still_known_after_an_unchanged_vote() -> None:
    given = ballot.given(Cast(FIRST, "ship"), Cast(SECOND, "ship"))
    given.when(Cast(FIRST, "skip")).then(CastDecision("conflict", "ship", None))
    given.when(Cast(FIRST, "ship")).then(CastDecision("superseded", "ship", None))


def test_a_retraction_of_nothing_repeated_as_a_vote_is_a_conflict() -> None:
    ballot.given(Cast(FIRST, None)).when(Cast(FIRST, "ship")).then(CastDecision("conflict", None, None))


def test_an_id_of_a_replaced_choice_is_superseded_whatever_it_says() -> None:
    given = ballot.given(Cast(FIRST, "ship"), Cast(SECOND, "skip"))
    given.when(Cast(FIRST, "skip")).then(CastDecision("superseded", "skip", None))


def test_the_newest_id_wins_in_any_order_of_arrival() -> None:
    casts = [Cast(FIRST, "ship"), Cast(SECOND, None), Cast(THIRD, "skip")]
    ends = {(end.id, end.choice) for each in permutations(casts) for end in [_fold(each)]}
    assert ends == {(THIRD, "skip")}


def _fold(casts: tuple[Cast, ...]) -> Ballot:
    return reduce(evolve, casts, BLANK)
