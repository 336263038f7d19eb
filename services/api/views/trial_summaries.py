"""Trial lines: how far each trial is, or came, without what it found; for lists, and at the head of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Pool, Record
from msgspec import Struct

from domain.rulebooks.rulebook import Rulebook
from domain.timeline.trials import Totals
from projections.engine.snapshot import NotThereYet, take_snapshot
from projections.rulebooks import read_rulebooks
from projections.trials.jobs import State, TrialRun
from services.api.routes.replays import Progress


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
        raise NotThereYet
    return RulebookName(digest, known[digest].name, known[digest].title)
