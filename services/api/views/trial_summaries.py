"""Summaries of trials: state, progress and totals, without the results; for lists, and at the head of one trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Pool, Record
from msgspec import Struct

from domain.rulebooks.rulebook import Rulebook
from domain.timeline.trials import Totals
from projections.engine.snapshot import ReadModelBehind, take_snapshot
from projections.rulebooks import read_rulebooks
from projections.trials.jobs import State, TrialRun
from services.api.views.progress import Progress


class RulebookName(Struct, frozen=True):
    digest: str
    name: str
    title: str


class TrialSummary(Struct, frozen=True):
    """``against`` is the rulebook in force at ``position``, one number per shard; both rulebooks are tried up to there."""

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


async def summarize_trials(pool: Pool[Record], runs: Sequence[TrialRun]) -> list[TrialSummary]:
    """Raises ReadModelBehind for a rulebook that the read model does not have yet."""
    async with take_snapshot(pool) as snapshot:
        known = {each.rulebook.digest: each.rulebook for each in await read_rulebooks(snapshot)}
    return [_summary(run, known) for run in runs]


def _summary(run: TrialRun, known: Mapping[str, Rulebook]) -> TrialSummary:
    return TrialSummary(
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
    if digest not in known:
        raise ReadModelBehind
    return RulebookName(digest, known[digest].name, known[digest].title)
