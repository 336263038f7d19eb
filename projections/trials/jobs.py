"""Trial jobs: begin a trial, read its state and its result, cancel it. worker.py runs it."""

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

READ_CLOCK = "SELECT clock_timestamp()"
ADD_TRIAL = "INSERT INTO trials (id, rulebook, position) VALUES ($1, $2, $3)"
FIND_RUNNING_TRIAL = "SELECT id FROM trials WHERE rulebook = $1 AND state = 'running'"
READ_TRIALS = """
SELECT id, rulebook, against, position, state, started_at, ended_at, done, total, error,
       extract(epoch FROM clock_timestamp() - begun_at)::float8 AS seconds, totals
  FROM trials
"""
READ_TRIAL = READ_TRIALS + "WHERE id = $1"
READ_NEWEST_TRIALS = READ_TRIALS + "ORDER BY started_at DESC LIMIT 50"
READ_RUNNING_TRIALS = "SELECT id FROM trials WHERE state = 'running' ORDER BY started_at"
READ_RESULTS = "SELECT id, result FROM trials WHERE id = ANY($1) AND state = 'done'"
CANCEL_TRIAL = "UPDATE trials SET state = 'cancelled', ended_at = clock_timestamp() WHERE id = $1 AND state = 'running' RETURNING id"


class TrialUnderWay(Rejected):
    """A trial of this rulebook is under way already: {id}. Wait for it, or cancel it."""

    slug = "under-way"


class Ended(Rejected):
    """This trial is {state}: there is nothing to cancel."""

    slug = "not-now"


class TrialRun(Struct, frozen=True):
    """``rulebook`` and ``against`` are digests, ``done`` and ``total`` numbers of events, ``seconds`` since a worker began it.

    ``position`` is a comma-separated list, one per shard. The result is read by ``read_results``.
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
    totals_json: bytes | None

    @property
    def totals(self) -> Totals | None:
        return None if self.totals_json is None else msgspec.json.decode(self.totals_json, type=Totals)

    @property
    def eta_seconds(self) -> float | None:
        """None before the first event is read, and after the end."""
        if self.state != "running" or not self.done or not self.seconds:
            return None
        return (self.total - self.done) * self.seconds / self.done


async def begin(pool: Pool[Record], digest: str) -> UUID:
    """Add a trial of a known rulebook, over the log up to now, for a worker to run. Raises TrialUnderWay."""
    positions = await resolve_positions(pool, await pool.fetchval(READ_CLOCK))
    trial = uuid4()
    try:
        await pool.execute(ADD_TRIAL, trial, digest, ",".join(map(str, positions)))
    except UniqueViolationError:
        raise TrialUnderWay(id=await pool.fetchval(FIND_RUNNING_TRIAL, digest)) from None
    return trial


async def read_trials(pool: Pool[Record]) -> list[TrialRun]:
    """The newest fifty, newest first."""
    return [TrialRun(*row) for row in await pool.fetch(READ_NEWEST_TRIALS)]


async def read_trial(pool: Pool[Record], id: UUID) -> TrialRun:
    row = await pool.fetchrow(READ_TRIAL, id)
    if row is None:
        raise Unknown(kind="trial", name=str(id))
    return TrialRun(*row)


async def read_results(pool: Pool[Record], ids: Sequence[UUID]) -> dict[UUID, Trial]:
    """Trials that are not done are left out."""
    return {
        row[0]: msgspec.json.decode(row[1], type=Trial) for row in await pool.fetch(READ_RESULTS, list(ids))
    }


async def running(pool: Pool[Record]) -> list[UUID]:
    return [row[0] for row in await pool.fetch(READ_RUNNING_TRIALS)]


async def cancel(pool: Pool[Record], id: UUID) -> None:
    """A worker that runs it stops within a second. Raises Ended."""
    if await pool.fetchval(CANCEL_TRIAL, id) is None:
        raise Ended(state=(await read_trial(pool, id)).state)
