"""Takes: a newer one supersedes, a withdrawn one leaves none, and revisions keep counting."""

from __future__ import annotations

from domain.editorial.takes import PanelTakes, PublishTake, WithdrawTake, decide, evolve
from domain.events.editorial import (
    Category,
    Details,
    Pricing,
    ReviewerRetired,
    ReviewerSeated,
    TakePublished,
    TakeWithdrawn,
    ToolListed,
    ToolRetired,
)
from domain.shared.errors import Retired, RetiredReviewer, Unknown
from tests.support.specification import Specification

DETAILS = Details(name="Quill", category=Category("writing", "Writing"), pricing=Pricing("Free"))
LISTED = ToolListed("quill", 1, DETAILS)
SEATED = ReviewerSeated("builder", 1, "Builder", "", "")
SHIP = TakePublished("builder", 1, 80, "ship", "It holds.")
WITHDRAWN = TakeWithdrawn("builder", 2, "ship")
PUBLISH = PublishTake("quill", "builder", 80, "ship", "It holds.")
WITHDRAW = WithdrawTake("quill", "builder")

panel = Specification(PanelTakes(), evolve, decide)


def test_a_first_take_is_published() -> None:
    panel.given(SEATED, LISTED).when(PUBLISH).then([SHIP])


def test_a_newer_take_supersedes_and_names_the_choice_it_replaced() -> None:
    changed = PublishTake("quill", "builder", 30, "skip", "It broke.")
    expected = TakePublished("builder", 2, 30, "skip", "It broke.", "ship")
    panel.given(SEATED, LISTED, SHIP).when(changed).then([expected])


def test_the_same_take_again_is_no_event() -> None:
    panel.given(SEATED, LISTED, SHIP).when(PUBLISH).then([])


def test_a_change_of_any_part_of_a_take_is_an_event() -> None:
    for command in (
        PublishTake("quill", "builder", 81, "ship", "It holds."),
        PublishTake("quill", "builder", 80, "skip", "It holds."),
        PublishTake("quill", "builder", 80, "ship", "It still holds."),
    ):
        expected = TakePublished("builder", 2, command.score, command.choice, command.text, "ship")
        panel.given(SEATED, LISTED, SHIP).when(command).then([expected])


def test_a_first_take_is_published_beside_those_of_other_reviewers() -> None:
    theirs = TakePublished("skeptic", 1, 10, "skip", "No.")
    panel.given(SEATED, LISTED, theirs).when(PUBLISH).then([SHIP])


def test_a_take_is_withdrawn() -> None:
    panel.given(SEATED, LISTED, SHIP).when(WITHDRAW).then([WITHDRAWN])


def test_withdrawing_nothing_is_no_event() -> None:
    panel.given(SEATED, LISTED).when(WITHDRAW).then([])
    panel.given(SEATED, LISTED, SHIP, WITHDRAWN).when(WITHDRAW).then([])


def test_a_take_after_a_withdrawal_replaces_nothing_and_has_the_next_revision() -> None:
    expected = TakePublished("builder", 3, 80, "ship", "It holds.", None)
    panel.given(SEATED, LISTED, SHIP, WITHDRAWN).when(PUBLISH).then([expected])


def test_a_retired_tool_accepts_no_takes() -> None:
    given = panel.given(SEATED, LISTED, SHIP, ToolRetired("quill", 2, DETAILS))
    given.when(PUBLISH).then_rejected(Retired, tool="quill")
    given.when(WITHDRAW).then_rejected(Retired, tool="quill")


def test_an_unlisted_tool_accepts_no_takes() -> None:
    panel.given().when(PUBLISH).then_rejected(Unknown, kind="tool", name="quill")


def test_only_reviewers_on_the_panel_publish() -> None:
    panel.given(LISTED).when(PUBLISH).then_rejected(Unknown, kind="reviewer", name="builder")


def test_a_retired_reviewer_publishes_nothing_and_may_withdraw() -> None:
    given = panel.given(SEATED, LISTED, SHIP, ReviewerRetired("builder", 1, "Builder", "", "", 2))
    given.when(PUBLISH).then_rejected(RetiredReviewer, reviewer="builder")
    given.when(WITHDRAW).then([WITHDRAWN])


def test_a_restored_reviewer_publishes_again() -> None:
    retired = ReviewerRetired("builder", 1, "Builder", "", "", 2)
    restored = ReviewerSeated("builder", 1, "Builder", "", "", 3)
    panel.given(SEATED, LISTED, retired, restored).when(PUBLISH).then([SHIP])
