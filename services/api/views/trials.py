"""Results of a trial, tool by tool, under the current names of the tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

from asyncpg import Pool, Record
from msgspec import Struct, structs

from domain.rulebooks.rulebook import Label
from domain.timeline.flips import Flip
from domain.timeline.trials import ScenarioResult, ToolComparison, Trial
from domain.verdicts.verdict import Margin
from projections.catalogue import CatalogueEntry, read_entries
from projections.engine.snapshot import ReadModelBehind, take_snapshot
from projections.trials import jobs
from services.api.views.trial_summaries import TrialSummary, summarize_trials

Entries = Mapping[int, CatalogueEntry]


class FlipNow(Struct, frozen=True):
    """A verdict that would change now. ``margin`` is of the verdict under the rulebook on trial."""

    slug: str
    name: str
    before: Label
    after: Label
    margin: Margin


class TrialFlip(Struct, frozen=True):
    """``position`` is the log position of the ``event`` that caused it."""

    before: Label
    after: Label
    at: datetime
    position: str
    event: str


class ToolFlips(Struct, frozen=True):
    """``count`` flips under the rulebook on trial, and ``in_force`` flips that happened. ``items``: the newest of ``count``."""

    slug: str
    name: str
    count: int
    in_force: int
    items: list[TrialFlip]


class RankMove(Struct, frozen=True):
    """Ranks from 1, by the clauses of each rulebook."""

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
    """A majority of takes and a majority of the votes, where there are enough, say opposite things."""

    slug: str
    name: str
    in_force: Label
    tried: Label


class TrialResults(Struct, frozen=True):
    flips_now: list[FlipNow]
    flips: list[ToolFlips]
    rank_moves: list[RankMove]
    margins: list[Margins]
    disagreements: list[Disagreement]


class TrialResponse(TrialSummary, frozen=True):
    """The results are null until the trial is done.

    ``flips_now``: verdicts that would change now. ``flips``: by tool, had the rulebook always been in force.
    """

    flips_now: list[FlipNow] | None
    flips: list[ToolFlips] | None
    rank_moves: list[RankMove] | None
    margins: list[Margins] | None
    disagreements: list[Disagreement] | None


def present_trial(summary: TrialSummary, results: TrialResults | None) -> TrialResponse:
    columns = (None,) * len(TrialResults.__struct_fields__) if results is None else structs.astuple(results)
    return TrialResponse(*structs.astuple(summary), *columns)


async def read_trial_results(
    pool: Pool[Record], id: UUID, flips_max: int
) -> tuple[TrialSummary, tuple[Trial, TrialResults] | None]:
    """The summary, and the results as they are stored and as they are shown; None until the trial is done."""
    run = await jobs.read_trial(pool, id)
    (summary,) = await summarize_trials(pool, [run])
    trial = (await jobs.read_results(pool, [id])).get(id) if run.state == "done" else None
    if trial is None:
        return summary, None
    return summary, (trial, present_results(trial, await read_entries_of(pool, [trial]), flips_max))


async def read_entries_of(pool: Pool[Record], trials: Iterable[Trial]) -> dict[int, CatalogueEntry]:
    """The catalogue's entries of all tools of these trials, by number.

    Raises ReadModelBehind where the log has a tool that the catalogue does not have yet.
    """
    tools = {each.tool for trial in trials for each in trial.tools}
    async with take_snapshot(pool) as snapshot:
        entries = {each.tool: each for each in await read_entries(snapshot, sorted(tools))}
    if entries.keys() < tools:
        raise ReadModelBehind
    return entries


def present_results(trial: Trial, entries: Entries, flips_max: int) -> TrialResults:
    """The largest changes come first. Each tool has its newest ``flips_max`` flips, newest first."""
    tools = sorted(trial.tools, key=lambda each: entries[each.tool].details.name.casefold())
    moved = [each for each in tools if each.in_force.rank != each.tried.rank]
    flipped = [each for each in tools if each.tried.flips or each.in_force.flips]
    return TrialResults(
        flips_now=[_flip_now(each, entries) for each in tools if each.flips_now],
        flips=[
            _tool_flips(each, entries, flips_max) for each in sorted(flipped, key=_flip_count, reverse=True)
        ],
        rank_moves=[_rank_move(each, entries) for each in sorted(moved, key=_rank_distance, reverse=True)],
        margins=[_margins(each, entries) for each in tools],
        disagreements=[_disagreement(each, entries) for each in tools if each.disagree],
    )


def _flip_count(tool: ToolComparison) -> int:
    return len(tool.tried.flips)


def _rank_distance(tool: ToolComparison) -> int:
    return abs(tool.in_force.rank - tool.tried.rank)


def name_of(tool: int, entries: Entries) -> tuple[str, str]:
    return entries[tool].slug, entries[tool].details.name


def _flip_now(each: ToolComparison, entries: Entries) -> FlipNow:
    return FlipNow(*name_of(each.tool, entries), each.in_force.label, each.tried.label, each.tried.margin)


def _tool_flips(each: ToolComparison, entries: Entries, flips_max: int) -> ToolFlips:
    newest = sorted(each.tried.flips, key=lambda flip: flip.place, reverse=True)[:flips_max]
    counts = len(each.tried.flips), len(each.in_force.flips)
    return ToolFlips(*name_of(each.tool, entries), *counts, [_trial_flip(flip) for flip in newest])


def _trial_flip(flip: Flip) -> TrialFlip:
    place = flip.place
    return TrialFlip(flip.before, flip.after, place.recorded_at, str(place.position), flip.event)


def _rank_move(each: ToolComparison, entries: Entries) -> RankMove:
    return RankMove(*name_of(each.tool, entries), each.in_force.rank, each.tried.rank)


def _margins(each: ToolComparison, entries: Entries) -> Margins:
    return Margins(*name_of(each.tool, entries), _standing(each.in_force), _standing(each.tried))


def _standing(result: ScenarioResult) -> TrialStanding:
    return TrialStanding(result.label, result.margin)


def _disagreement(each: ToolComparison, entries: Entries) -> Disagreement:
    return Disagreement(*name_of(each.tool, entries), each.in_force.label, each.tried.label)
