"""Trial lines: how far each trial is, or came, without what it found; for lists, and at the head of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Pool, Record
from msgspec import Struct

from domain.rulebooks.rulebook import Rulebook
from domain.shared.errors import Rejected
from domain.timeline.trials import Totals, Trial
from projections.catalogue import Entry, read_entries
from projections.engine.snapshot import ReadModelBehind, take_snapshot
from projections.rulebooks import read_rulebooks
from projections.trials import jobs as trials
from projections.trials.jobs import State, TrialRun
from services.api.http.problems import HttpRejected
from services.api.views.progress import Progress
from services.api.views.trials import ComparedTool, Results, compare, show_results, tools_of


class RulebookName(Struct, frozen=True):
    digest: str
    name: str
    title: str


class TrialLine(Struct, frozen=True):
    """``against`` was in force at ``position``, which has one number per shard; both sides are judged up to there."""

    id: UUID
    state: State
    rulebook: RulebookName
    against: RulebookName | None
    position: str
    progress: Progress
    eta_seconds: float | None
    started_at: datetime
    ended_at: datetime | None
    totals: Totals | None
    error: str | None


async def show_lines(pool: Pool[Record], runs: Sequence[TrialRun]) -> list[TrialLine]:
    async with take_snapshot(pool) as snapshot:
        known = {each.rulebook.digest: each.rulebook for each in await read_rulebooks(snapshot)}
    return [_line(run, known) for run in runs]


def _line(run: TrialRun, known: Mapping[str, Rulebook]) -> TrialLine:
    return TrialLine(
        run.id,
        run.state,
        _name(run.rulebook, known),
        None if run.against is None else _name(run.against, known),
        run.position,
        Progress(run.done, run.total),
        run.eta_seconds,
        run.started_at,
        run.ended_at,
        run.totals,
        run.error,
    )


def _name(digest: str, known: Mapping[str, Rulebook]) -> RulebookName:
    """Raises NotThereYet for a rulebook that the read model does not have yet."""
    if digest not in known:
        raise ReadModelBehind
    return RulebookName(digest, known[digest].name, known[digest].title)


COMPARED_MAX = 8


class NotDone(Rejected):
    """The trial {id} is {state}. Compare trials that are done."""

    slug = "not-now"


class SideBySide(Struct, frozen=True):
    """The cells of each tool are in the order of the trials."""

    trials: list[TrialLine]
    items: list[ComparedTool]


async def read_found(
    pool: Pool[Record], id: UUID, flips: int
) -> tuple[TrialLine, tuple[Trial, Results] | None]:
    """What it found, as it is and as it is shown; None until it is done."""
    run = await trials.read_trial(pool, id)
    (line,) = await show_lines(pool, [run])
    trial = (await trials.read_results(pool, [id])).get(id) if run.state == "done" else None
    return line, None if trial is None else (trial, show_results(trial, await _names(pool, [trial]), flips))


async def read_side_by_side(pool: Pool[Record], ids: Sequence[UUID]) -> SideBySide:
    """Raises Unknown, or NotDone."""
    runs = [await trials.read_trial(pool, each) for each in ids]
    for run in runs:
        if run.state != "done":
            raise NotDone(id=run.id, state=run.state)
    found = await trials.read_results(pool, ids)
    tried = [found[each] for each in ids]
    return SideBySide(await show_lines(pool, runs), compare(tried, await _names(pool, tried)))


def ids_in(text: str) -> list[UUID]:
    """The ids of ``a,b,c``, each once. Raises Rejected."""
    try:
        ids = [UUID(each) for each in dict.fromkeys(text.split(","))]
    except ValueError:
        raise HttpRejected(400, "invalid", "ids: write the ids of trials, comma-separated.") from None
    if len(ids) > COMPARED_MAX:
        raise HttpRejected(400, "invalid", f"ids: at most {COMPARED_MAX} trials at a time.")
    return ids


async def _names(pool: Pool[Record], tried: Sequence[Trial]) -> dict[int, Entry]:
    """Raises NotThereYet where the log has a tool that the catalogue does not have yet."""
    async with take_snapshot(pool) as snapshot:
        names = {each.tool: each for each in await read_entries(snapshot, tools_of(tried))}
    if names.keys() < set(tools_of(tried)):
        raise ReadModelBehind
    return names
