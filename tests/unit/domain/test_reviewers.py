"""Reviewers: seated in order, revised under an expected revision, ordered as a whole, retired and restored."""

from __future__ import annotations

from domain.editorial.reviewers import (
    OrderIncomplete,
    OrderPanel,
    PutReviewer,
    ReservedSlug,
    RestoreReviewer,
    RetireReviewer,
    decide,
    evolve,
    panel_order,
)
from domain.events.editorial import ReviewerRetired, ReviewerSeated, TakeWithdrawn
from domain.shared.errors import RetiredReviewer, RevisionConflict, Unknown
from tests.support.specification import Specification

BUILDER = ReviewerSeated("builder", 1, "Builder", "Builds.", "Has built.")
SKEPTIC = ReviewerSeated("skeptic", 2, "Skeptic", "Doubts.", "Has doubted.")
PM = ReviewerSeated("pm", 3, "PM", "Asks.", "Has asked.")
RETIRED = ReviewerRetired("skeptic", 2, "Skeptic", "Doubts.", "Has doubted.", 2)
PUT_BUILDER = PutReviewer("builder", "Builder", "Builds.", "Has built.")

seats = Specification({}, evolve, decide)


def test_the_first_persona_takes_the_first_seat() -> None:
    seats.given().when(PUT_BUILDER).then([BUILDER])


def test_a_new_persona_takes_the_next_seat() -> None:
    seats.given(BUILDER).when(PutReviewer("skeptic", "Skeptic", "Doubts.", "Has doubted.")).then([SKEPTIC])


def test_a_known_persona_is_revised_on_their_seat() -> None:
    given = seats.given(BUILDER, SKEPTIC)
    expected = ReviewerSeated("builder", 1, "The Builder", "Builds.", "Has built.", 2)
    given.when(PutReviewer("builder", "The Builder", "Builds.", "Has built.")).then([expected])


def test_repeating_a_reviewer_is_no_event() -> None:
    seats.given(BUILDER).when(PUT_BUILDER).then([])


def test_other_events_do_not_change_seats() -> None:
    assert seats.given(BUILDER, TakeWithdrawn("builder", 2, "ship")).state == {"builder": BUILDER}


def test_a_change_with_another_expected_revision_is_rejected() -> None:
    given, conflict = seats.given(BUILDER), {"kind": "reviewer", "name": "builder", "revision": 1}
    renamed = PutReviewer("builder", "B", "", "", expected=1)
    given.when(renamed).then([ReviewerSeated("builder", 1, "B", "", "", 2)])
    for command in (
        PutReviewer("builder", "B", "", "", expected=0),
        RetireReviewer("builder", expected=0),
        RestoreReviewer("builder", expected=0),
    ):
        given.when(command).then_rejected(RevisionConflict, **conflict, expected=0)
    unseated = seats.given().when(PutReviewer("pm", "PM", "", "", expected=1))
    unseated.then_rejected(RevisionConflict, kind="reviewer", name="pm", revision=0, expected=1)


def test_a_slug_that_is_part_of_an_address_is_refused() -> None:
    seats.given().when(PutReviewer("order", "Order", "", "")).then_rejected(ReservedSlug, name="order")


def test_a_retired_reviewer_is_not_revised_until_restored() -> None:
    given = seats.given(BUILDER, SKEPTIC)
    given.when(RetireReviewer("skeptic")).then([RETIRED])
    given.when(RestoreReviewer("skeptic")).then([])
    given = seats.given(BUILDER, SKEPTIC, RETIRED)
    given.when(RetireReviewer("skeptic")).then([])
    given.when(PutReviewer("skeptic", "S", "", "")).then_rejected(RetiredReviewer, reviewer="skeptic")
    restored = ReviewerSeated("skeptic", 2, "Skeptic", "Doubts.", "Has doubted.", 3)
    given.when(RestoreReviewer("skeptic")).then([restored])
    given.when(RetireReviewer("nobody")).then_rejected(Unknown, kind="reviewer", name="nobody")
    given.when(RestoreReviewer("nobody")).then_rejected(Unknown, kind="reviewer", name="nobody")


def test_a_new_reviewer_never_takes_the_seat_of_a_retired_one() -> None:
    given = seats.given(BUILDER, SKEPTIC, RETIRED)
    given.when(PutReviewer("pm", "PM", "Asks.", "Has asked.")).then([PM])


def test_an_order_moves_reviewers_among_their_seats_and_changes_no_revision() -> None:
    given = seats.given(BUILDER, SKEPTIC, RETIRED, PM)
    moved = [
        ReviewerSeated("pm", 1, "PM", "Asks.", "Has asked."),
        ReviewerSeated("builder", 3, "Builder", "Builds.", "Has built."),
    ]
    given.when(OrderPanel(("pm", "builder"))).then(moved)
    given.when(OrderPanel(("builder", "pm"))).then([])
    after = seats.given(
        BUILDER, SKEPTIC, RETIRED, PM, *moved, ReviewerSeated("skeptic", 2, "Skeptic", "", "", 3)
    )
    assert [each.slug for each in panel_order(after.state)] == ["pm", "skeptic", "builder"]


def test_an_order_that_does_not_name_everybody_once_is_rejected() -> None:
    """So an order that was read before somebody else was seated does not move anybody."""
    given = seats.given(BUILDER, SKEPTIC, RETIRED, PM)
    for order, fault in (
        (("builder",), "leaves out pm"),
        (("builder", "pm", "pm"), "repeats pm"),
        (("builder", "skeptic", "pm"), "names without a seat skeptic"),
        ((), "leaves out builder, pm"),
        (("builder", "x", "x"), "repeats x; it leaves out pm; it names without a seat x"),
    ):
        given.when(OrderPanel(order)).then_rejected(OrderIncomplete, fault=fault)
