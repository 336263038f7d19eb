"""Tools: listed once, revised under an expected revision, and retired permanently."""

from __future__ import annotations

from domain.editorial.tools import PutTool, RetireTool, decide, evolve
from domain.events.editorial import (
    Category,
    Details,
    Pricing,
    TakeWithdrawn,
    ToolListed,
    ToolRetired,
    ToolRevised,
)
from domain.shared.errors import Retired, RevisionConflict, Unknown
from tests.support.specification import Specification

DETAILS = Details(name="Quill", category=Category("writing", "Writing"), pricing=Pricing("Free"))
REVISED = Details(name="Quill 2", category=Category("writing", "Writing"), pricing=Pricing("Paid"))
LISTED = ToolListed("quill", 1, DETAILS)
RETIRED = ToolRetired("quill", 2, DETAILS)

tool = Specification(None, evolve, decide)


def test_a_new_tool_is_listed_at_revision_1() -> None:
    tool.given().when(PutTool("quill", DETAILS)).then([LISTED])


def test_a_known_tool_is_revised() -> None:
    tool.given(LISTED).when(PutTool("quill", REVISED)).then([ToolRevised("quill", 2, REVISED)])


def test_every_revision_has_the_next_number() -> None:
    given = tool.given(LISTED, ToolRevised("quill", 2, REVISED))
    given.when(PutTool("quill", DETAILS)).then([ToolRevised("quill", 3, DETAILS)])


def test_the_same_details_again_are_no_event() -> None:
    tool.given(LISTED).when(PutTool("quill", DETAILS)).then([])


def test_a_tool_is_retired_with_its_last_details() -> None:
    tool.given(LISTED).when(RetireTool("quill")).then([RETIRED])


def test_retiring_again_is_no_event() -> None:
    tool.given(LISTED, RETIRED).when(RetireTool("quill")).then([])


def test_a_retired_tool_accepts_no_revision() -> None:
    tool.given(LISTED, RETIRED).when(PutTool("quill", REVISED)).then_rejected(Retired, tool="quill")


def test_an_unlisted_tool_cannot_be_retired() -> None:
    tool.given().when(RetireTool("quill")).then_rejected(Unknown, kind="tool", name="quill")


def test_a_change_with_the_expected_revision_is_accepted() -> None:
    given = tool.given(LISTED)
    given.when(PutTool("quill", REVISED, expected=1)).then([ToolRevised("quill", 2, REVISED)])
    given.when(RetireTool("quill", expected=1)).then([RETIRED])


def test_a_change_with_another_expected_revision_is_rejected() -> None:
    given = tool.given(LISTED, ToolRevised("quill", 2, REVISED))
    moved = {"kind": "tool", "name": "quill", "revision": 2, "expected": 1}
    given.when(PutTool("quill", DETAILS, expected=1)).then_rejected(RevisionConflict, **moved)
    given.when(RetireTool("quill", expected=1)).then_rejected(RevisionConflict, **moved)


def test_expected_revision_0_lists_and_never_overwrites() -> None:
    tool.given().when(PutTool("quill", DETAILS, expected=0)).then([LISTED])
    given = tool.given(LISTED).when(PutTool("quill", REVISED, expected=0))
    given.then_rejected(RevisionConflict, kind="tool", name="quill", revision=1, expected=0)


def test_events_of_takes_do_not_change_the_tool() -> None:
    assert tool.given(LISTED, TakeWithdrawn("builder", 2, "ship")).state == tool.given(LISTED).state


def test_a_rejection_says_what_to_do() -> None:
    assert str(RevisionConflict(kind="tool", name="quill", revision=2, expected=1)) == (
        "The tool 'quill' is at revision 2, not 1. Read it again and apply the change to that revision."
    )
