"""Trial results: what a trial found, tool by tool, under the names that tools have now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from msgspec import Struct

from domain.rulebooks.rulebook import Label
from domain.timeline.flips import Flip
from domain.timeline.trials import ScenarioResult, ToolComparison, Trial
from domain.verdicts.verdict import Margin
from projections.catalogue import Entry

T = TypeVar("T")
Names = Mapping[int, Entry]


class FlipNow(Struct, frozen=True):
    """A verdict that would be another now. ``margin`` is that of the one tried."""

    slug: str
    name: str
    before: Label
    after: Label
    margin: Margin


class TrialFlip(Struct, frozen=True):
    """``position`` is that of the causing ``event``."""

    before: Label
    after: Label
    at: datetime
    position: str
    event: str


class ToolFlips(Struct, frozen=True):
    """``count`` flips would have been, and ``in_force`` there were. ``items``: the newest of those that would have been."""

    slug: str
    name: str
    count: int
    in_force: int
    items: list[TrialFlip]


class RankMove(Struct, frozen=True):
    """From 1, by the clauses of each rulebook."""

    slug: str
    name: str
    before: int
    after: int


class TrialStanding(Struct, frozen=True):
    label: Label
    margin: Margin


class Margins(Struct, frozen=True):
    slug: str
    name: str
    in_force: TrialStanding
    tried: TrialStanding


class Disagreement(Struct, frozen=True):
    """Most takes say one thing, and most of enough votes the other."""

    slug: str
    name: str
    in_force: Label
    tried: Label


class Results(Struct, frozen=True):
    flips_now: list[FlipNow]
    flips: list[ToolFlips]
    rank_moves: list[RankMove]
    margins: list[Margins]
    disagreements: list[Disagreement]


class TrialCell(Struct, frozen=True):
    """One tool in one trial."""

    in_force: Label
    tried: Label
    margin: Margin
    rank: int
    flips: int


class ComparedTool(Struct, frozen=True):
    """``cells`` are in the order of the trials; null where a trial does not have the tool."""

    slug: str
    name: str
    cells: list[TrialCell | None]


def show_results(trial: Trial, names: Names, most_flips: int) -> Results:
    """What moves most comes first. Of each tool so many flips, newest first."""
    tools = sorted(trial.tools, key=lambda each: names[each.tool].details.name.casefold())
    moved = [each for each in tools if each.in_force.rank != each.tried.rank]
    flipped = [each for each in tools if each.tried.flips or each.in_force.flips]
    return Results(
        flips_now=[_flip_now(each, names) for each in tools if each.flips_now],
        flips=[_tool_flips(each, names, most_flips) for each in _most_first(flipped, _flips)],
        rank_moves=[_rank_move(each, names) for each in _most_first(moved, _way)],
        margins=[_margins(each, names) for each in tools],
        disagreements=[_disagreement(each, names) for each in tools if each.disagree],
    )


def compare(trials: Sequence[Trial], names: Names) -> list[ComparedTool]:
    """A row a tool; those that most of the trials would flip come first."""
    by_trial = [{each.tool: each for each in trial.tools} for trial in trials]
    numbers = sorted(set().union(*by_trial), key=lambda tool: names[tool].details.name.casefold())
    rows = [
        ComparedTool(*_named(tool, names), [_cell(tools.get(tool)) for tools in by_trial]) for tool in numbers
    ]
    return _most_first(rows, lambda row: sum(1 for cell in row.cells if cell and cell.in_force != cell.tried))


def tools_of(trials: Iterable[Trial]) -> list[int]:
    return sorted({each.tool for trial in trials for each in trial.tools})


def _most_first(values: Iterable[T], how_much: Callable[[T], int]) -> list[T]:
    return sorted(values, key=how_much, reverse=True)


def _flips(tool: ToolComparison) -> int:
    return len(tool.tried.flips)


def _way(tool: ToolComparison) -> int:
    return abs(tool.in_force.rank - tool.tried.rank)


def _named(tool: int, names: Names) -> tuple[str, str]:
    return names[tool].slug, names[tool].details.name


def _flip_now(each: ToolComparison, names: Names) -> FlipNow:
    return FlipNow(*_named(each.tool, names), each.in_force.label, each.tried.label, each.tried.margin)


def _tool_flips(each: ToolComparison, names: Names, most: int) -> ToolFlips:
    newest = sorted(each.tried.flips, key=lambda flip: flip.place, reverse=True)[:most]
    counts = len(each.tried.flips), len(each.in_force.flips)
    return ToolFlips(*_named(each.tool, names), *counts, [show_flip(flip) for flip in newest])


def show_flip(flip: Flip) -> TrialFlip:
    place = flip.place
    return TrialFlip(flip.before, flip.after, place.recorded_at, str(place.position), flip.event)


def _rank_move(each: ToolComparison, names: Names) -> RankMove:
    return RankMove(*_named(each.tool, names), each.in_force.rank, each.tried.rank)


def _margins(each: ToolComparison, names: Names) -> Margins:
    return Margins(*_named(each.tool, names), _standing(each.in_force), _standing(each.tried))


def _standing(tried: ScenarioResult) -> TrialStanding:
    return TrialStanding(tried.label, tried.margin)


def _disagreement(each: ToolComparison, names: Names) -> Disagreement:
    return Disagreement(*_named(each.tool, names), each.in_force.label, each.tried.label)


def _cell(each: ToolComparison | None) -> TrialCell | None:
    if each is None:
        return None
    tried = each.tried
    return TrialCell(each.in_force.label, tried.label, tried.margin, tried.rank, len(tried.flips))
