"""Takes: one reviewer's judgement of one tool. A newer take supersedes the older one, and may be withdrawn."""

from __future__ import annotations

from typing import assert_never

from msgspec import Struct

from domain.editorial import reviewers, tools
from domain.events.editorial import EditorialEvent, TakePublished, TakeWithdrawn
from domain.shared.errors import Retired, Unknown
from domain.shared.types import Choice


class PublishTake(Struct, frozen=True):
    tool: str
    reviewer: str
    score: int
    choice: Choice
    text: str


class WithdrawTake(Struct, frozen=True):
    tool: str
    reviewer: str


class Take(Struct, frozen=True):
    """A reviewer's latest take. ``choice`` is None once withdrawn; the revision keeps counting."""

    revision: int = 0
    score: int | None = None
    choice: Choice | None = None
    text: str = ""


class PanelTakes(Struct, frozen=True):
    """A tool, its takes by reviewer, and the panel."""

    tool: tools.Tool | None = None
    takes: dict[str, Take] = {}
    seats: reviewers.Seats = {}


NO_TAKE = Take()


def evolve(panel: PanelTakes, event: EditorialEvent) -> PanelTakes:
    match event:
        case TakePublished(reviewer, revision, score, choice, text):
            takes = panel.takes | {reviewer: Take(revision, score, choice, text)}
            return PanelTakes(panel.tool, takes, panel.seats)
        case TakeWithdrawn(reviewer, revision):
            return PanelTakes(panel.tool, panel.takes | {reviewer: Take(revision)}, panel.seats)
        case _:
            seats = reviewers.evolve(panel.seats, event)
            return PanelTakes(tools.evolve(panel.tool, event), panel.takes, seats)


def decide(command: PublishTake | WithdrawTake, panel: PanelTakes) -> list[EditorialEvent]:
    """Raises Unknown, Retired or RetiredReviewer. No event when nothing would change.

    The standing take of a retired reviewer can still be withdrawn.
    """
    if panel.tool is None:
        raise Unknown(kind="tool", name=command.tool)
    if panel.tool.retired:
        raise Retired(tool=command.tool)
    take = panel.takes.get(command.reviewer, NO_TAKE)
    match command:
        case PublishTake(_, reviewer, score, choice, text):
            reviewers.check_publishing(panel.seats, reviewer)
            if (take.score, take.choice, take.text) == (score, choice, text):
                return []
            return [TakePublished(reviewer, take.revision + 1, score, choice, text, take.choice)]
        case WithdrawTake(_, reviewer):
            return [] if take.choice is None else [TakeWithdrawn(reviewer, take.revision + 1, take.choice)]
        case _:
            assert_never(command)
