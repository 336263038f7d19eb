"""Trials: what is known of each try of a rulebook, and what may be asked of it. The work itself is trial_runs.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID, uuid4

import msgspec
from asyncpg import Pool, Record, UniqueViolationError
from msgspec import Struct

from domain.shared.errors import Rejected, Unknown
from domain.timeline.trials import Totals, Trial
from eventstore.as_of_positions import resolve_positions

State: TypeAlias = Literal["running", "done", "failed", "cancelled"]

NOW = "SELECT clock_timestamp()"
BEGIN = "INSERT INTO trials (id, rulebook, position) VALUES ($1, $2, $3)"
UNDER_WAY = "SELECT id FROM trials WHERE rulebook = $1 AND state = 'running'"
READ = """
SELECT id, rulebook, against, position, state, started_at, ended_at, done, total, error,
       extract(epoch FROM clock_timestamp() - begun_at)::float8 AS seconds, totals
  FROM trials
"""
READ_ONE = READ + "WHERE id = $1"
READ_NEWEST = READ + "ORDER BY started_at DESC LIMIT 50"
RUNNING = "SELECT id FROM trials WHERE state = 'running' ORDER BY started_at"
RESULTS = "SELECT id, result FROM trials WHERE id = ANY($1) AND state = 'done'"
CANCEL = "UPDATE trials SET state = 'cancelled', ended_at = clock_timestamp() WHERE id = $1 AND state = 'running' RETURNING id"


class TrialUnderWay(Rejected):
    """A trial of this rulebook is under way already: {id}. Wait for it, or cancel it."""

    slug = "under-way"


class Ended(Rejected):
    """This trial is {state}: there is nothing to cancel."""

    slug = "not-now"


class TrialRun(Struct, frozen=True):
    """``rulebook`` and ``against`` are digests, ``done`` and ``total`` events, ``seconds`` since a worker began it.

    ``position``: up to where in the log, one per shard. What it found is read on its own.
    """

    id: UUID
    rulebook: str
    against: str | None
    position: str
    state: State
    started_at: datetime
    ended_at: datetime | None
    done: int
    total: int
    error: str | None
    seconds: float | None
    counted: bytes | None

    @property
    def totals(self) -> Totals | None:
        return None if self.counted is None else msgspec.json.decode(self.counted, type=Totals)

    @property
    def eta_seconds(self) -> float | None:
        """None before anything is folded, and when it has ended."""
        if self.state != "running" or not self.done or not self.seconds:
            return None
        return (self.total - self.done) * self.seconds / self.done


async def begin(pool: Pool[Record], digest: str) -> UUID:
    """A trial of a known rulebook over the log as it is now; a worker takes it from here. Raises UnderWay."""
    positions = await resolve_positions(pool, await pool.fetchval(NOW))
    fresh = uuid4()
    try:
        await pool.execute(BEGIN, fresh, digest, ",".join(map(str, positions)))
    except UniqueViolationError:
        raise TrialUnderWay(id=await pool.fetchval(UNDER_WAY, digest)) from None
    return fresh


async def read_trials(pool: Pool[Record]) -> list[TrialRun]:
    """The newest fifty, newest first."""
    return [TrialRun(*row) for row in await pool.fetch(READ_NEWEST)]


async def read_trial(pool: Pool[Record], id: UUID) -> TrialRun:
    row = await pool.fetchrow(READ_ONE, id)
    if row is None:
        raise Unknown(kind="trial", name=str(id))
    return TrialRun(*row)


async def read_results(pool: Pool[Record], ids: Sequence[UUID]) -> dict[UUID, Trial]:
    """Of those that are done."""
    return {row[0]: msgspec.json.decode(row[1], type=Trial) for row in await pool.fetch(RESULTS, list(ids))}


async def running(pool: Pool[Record]) -> list[UUID]:
    return [row[0] for row in await pool.fetch(RUNNING)]


async def cancel(pool: Pool[Record], id: UUID) -> None:
    """Whoever has it in hand stops within a second. Raises Ended."""
    if await pool.fetchval(CANCEL, id) is None:
        raise Ended(state=(await read_trial(pool, id)).state)
