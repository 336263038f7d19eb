"""Takes: one reviewer's judgement of one tool. A newer take supersedes the older one, and may be withdrawn."""

from __future__ import annotations

from typing import assert_never

from msgspec import Struct

from domain.editorial import tools
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
    """A tool and its takes by reviewer."""

    tool: tools.Tool | None = None
    takes: dict[str, Take] = {}


NO_TAKE = Take()


def evolve(panel: PanelTakes, event: EditorialEvent) -> PanelTakes:
    match event:
        case TakePublished(reviewer, revision, score, choice, text):
            return PanelTakes(panel.tool, panel.takes | {reviewer: Take(revision, score, choice, text)})
        case TakeWithdrawn(reviewer, revision):
            return PanelTakes(panel.tool, panel.takes | {reviewer: Take(revision)})
        case _:
            return PanelTakes(tools.evolve(panel.tool, event), panel.takes)


def decide(command: PublishTake | WithdrawTake, panel: PanelTakes) -> list[EditorialEvent]:
    """Raises Unknown or Retired. No event when nothing would change."""
    if panel.tool is None:
        raise Unknown(kind="tool", name=command.tool)
    if panel.tool.retired:
        raise Retired(tool=command.tool)
    take = panel.takes.get(command.reviewer, NO_TAKE)
    match command:
        case PublishTake(_, reviewer, score, choice, text):
            if (take.score, take.choice, take.text) == (score, choice, text):
                return []
            return [TakePublished(reviewer, take.revision + 1, score, choice, text, take.choice)]
        case WithdrawTake(_, reviewer):
            return [] if take.choice is None else [TakeWithdrawn(reviewer, take.revision + 1, take.choice)]
        case _:
            assert_never(command)
