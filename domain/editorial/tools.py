"""Tools: listed, revised under an expected revision, and retired permanently."""

from __future__ import annotations

from typing import assert_never

from msgspec import Struct

from domain.events.editorial import Details, EditorialEvent, ToolListed, ToolRetired, ToolRevised
from domain.shared.errors import Retired, RevisionConflict, Unknown


class PutTool(Struct, frozen=True):
    """List or revise a tool. ``expected`` is the revision the editor last read: None if unstated, 0 for "not listed yet"."""

    slug: str
    details: Details
    expected: int | None = None


class RetireTool(Struct, frozen=True):
    slug: str
    expected: int | None = None


class Tool(Struct, frozen=True):
    slug: str
    revision: int
    details: Details
    retired: bool = False


def evolve(tool: Tool | None, event: EditorialEvent) -> Tool | None:
    match event:
        case ToolListed(slug, revision, details) | ToolRevised(slug, revision, details):
            return Tool(slug, revision, details)
        case ToolRetired(slug, revision, details):
            return Tool(slug, revision, details, retired=True)
        case _:
            return tool


def decide(command: PutTool | RetireTool, tool: Tool | None) -> list[EditorialEvent]:
    """Raises Unknown, Retired or RevisionConflict. No event when nothing would change."""
    _check_revision(command, tool)
    match command:
        case PutTool(slug, details):
            if tool is None:
                return [ToolListed(slug, 1, details)]
            if tool.retired:
                raise Retired(tool=slug)
            return [] if details == tool.details else [ToolRevised(slug, tool.revision + 1, details)]
        case RetireTool(slug):
            if tool is None:
                raise Unknown(kind="tool", name=slug)
            return [] if tool.retired else [ToolRetired(slug, tool.revision + 1, tool.details)]
        case _:
            assert_never(command)


def _check_revision(command: PutTool | RetireTool, tool: Tool | None) -> None:
    revision = tool.revision if tool else 0
    if command.expected is not None and command.expected != revision:
        raise RevisionConflict(kind="tool", name=command.slug, revision=revision, expected=command.expected)
