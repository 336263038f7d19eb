"""Comparisons of trials: what each tool would be under each of several rulebooks."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Pool, Record
from msgspec import Struct

from domain.rulebooks.rulebook import Label
from domain.shared.errors import Rejected
from domain.timeline.trials import ToolComparison, Trial
from domain.verdicts.verdict import Margin
from projections.trials import jobs
from services.api.http.problems import HttpRejected
from services.api.views.trial_summaries import TrialSummary, summarize_trials
from services.api.views.trials import Entries, name_of, read_entries_of

COMPARED_MAX = 8


class NotDone(Rejected):
    """The trial {id} is {state}. Compare trials that are done."""

    slug = "not-now"


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


class TrialComparison(Struct, frozen=True):
    """The cells of each tool are in the order of ``trials``."""

    trials: list[TrialSummary]
    items: list[ComparedTool]


async def read_trial_comparison(pool: Pool[Record], ids: Sequence[UUID]) -> TrialComparison:
    """Raises Unknown, or NotDone."""
    runs = [await jobs.read_trial(pool, each) for each in ids]
    for run in runs:
        if run.state != "done":
            raise NotDone(id=run.id, state=run.state)
    by_id = await jobs.read_results(pool, ids)
    results = [by_id[each] for each in ids]
    summaries = await summarize_trials(pool, runs)
    return TrialComparison(summaries, compare_trials(results, await read_entries_of(pool, results)))


def compare_trials(trials: Sequence[Trial], entries: Entries) -> list[ComparedTool]:
    """One row per tool; the tools that most of the trials would flip come first."""
    by_trial = [{each.tool: each for each in trial.tools} for trial in trials]
    tools = sorted(set().union(*by_trial), key=lambda tool: entries[tool].details.name.casefold())
    rows = [
        ComparedTool(*name_of(tool, entries), [_cell(trial.get(tool)) for trial in by_trial])
        for tool in tools
    ]
    return sorted(rows, key=_flip_count, reverse=True)


def _flip_count(row: ComparedTool) -> int:
    return sum(1 for cell in row.cells if cell and cell.in_force != cell.tried)


def _cell(each: ToolComparison | None) -> TrialCell | None:
    if each is None:
        return None
    tried = each.tried
    return TrialCell(each.in_force.label, tried.label, tried.margin, tried.rank, len(tried.flips))


def parse_trial_ids(text: str) -> list[UUID]:
    """The ids of ``a,b,c``, each once. Raises HttpRejected."""
    try:
        ids = [UUID(each) for each in dict.fromkeys(text.split(","))]
    except ValueError:
        raise HttpRejected(400, "invalid", "ids: write the ids of trials, comma-separated.") from None
    if len(ids) > COMPARED_MAX:
        raise HttpRejected(400, "invalid", f"ids: at most {COMPARED_MAX} trials at a time.")
    return ids
