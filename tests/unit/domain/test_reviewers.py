"""Reviewers: each has a seat and keeps it."""

from __future__ import annotations

from domain.editorial.reviewers import PutReviewer, decide, evolve
from domain.events.editorial import ReviewerSeated, TakeWithdrawn
from tests.support.specification import Specification

BUILDER = ReviewerSeated("builder", 1, "Builder", "Builds.", "Has built.")
SKEPTIC = ReviewerSeated("skeptic", 2, "Skeptic", "Doubts.", "Has doubted.")

seats = Specification({}, evolve, decide)


def test_the_first_persona_takes_the_first_seat() -> None:
    seats.given().when(PutReviewer("builder", "Builder", "Builds.", "Has built.")).then([BUILDER])


def test_a_new_persona_takes_the_next_seat() -> None:
    seats.given(BUILDER).when(PutReviewer("skeptic", "Skeptic", "Doubts.", "Has doubted.")).then([SKEPTIC])


def test_a_known_persona_is_revised_on_their_seat() -> None:
    given = seats.given(BUILDER, SKEPTIC)
    expected = ReviewerSeated("builder", 1, "The Builder", "Builds.", "Has built.")
    given.when(PutReviewer("builder", "The Builder", "Builds.", "Has built.")).then([expected])


def test_repeating_a_reviewer_is_no_event() -> None:
    seats.given(BUILDER).when(PutReviewer("builder", "Builder", "Builds.", "Has built.")).then([])


def test_other_events_do_not_change_seats() -> None:
    assert seats.given(BUILDER, TakeWithdrawn("builder", 2, "ship")).state == {"builder": BUILDER}
