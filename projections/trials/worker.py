"""Trial runs: a worker takes a trial to its end, tells how far it is, and stops once nobody wants it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from uuid import UUID

import msgspec
from asyncpg import Pool, Record

from domain.rulebooks.rulebook import Rulebook
from domain.shared.errors import Rejected
from domain.shared.log import Position, parse_position
from domain.timeline.trials import Trial, total
from eventstore.advisory_lock import exclusively
from eventstore.sealed.store import Store
from projections.engine.snapshot import take_snapshot
from projections.rulebooks import find_rulebook
from projections.trials.run import try_rulebook

ATTEMPTS_MAX = 5

TAKE_UP = """
UPDATE trials SET attempts = attempts + 1, begun_at = clock_timestamp(), done = 0, total = 0
 WHERE id = $1 AND state = 'running' RETURNING rulebook, position, attempts
"""
MOVE = "UPDATE trials SET done = $2, total = $3 WHERE id = $1 AND state = 'running' RETURNING id"
FINISH = """
UPDATE trials SET state = 'done', ended_at = clock_timestamp(), done = $2, total = $2, against = $3, totals = $4, result = $5
 WHERE id = $1 AND state = 'running'
"""
FAIL = """
UPDATE trials SET state = 'failed', ended_at = clock_timestamp(), error = $2 WHERE id = $1 AND state = 'running'
"""

_TELL_SECONDS = 0.3


class NeverEnded(Rejected):
    """Workers began this trial {attempts} times and none came to its end. Their logs say why."""


class TrialProgress:
    """How far a trial is, in events, as its engine last said."""

    def __init__(self) -> None:
        self.done = self.total = 0

    def report(self, done: int, total: int) -> None:
        self.done, self.total = done, total


async def run(pool: Pool[Record], id: UUID, store: Store | None = None) -> None:
    """Try the rulebook from the start, unless another process is at it. Ends early when it is cancelled.

    Whatever dies on the way, the next call begins anew, to the same end: the positions are the trial's own.
    """
    async with exclusively(pool, "shiplog trial", str(id)) as mine:
        taken = await pool.fetchrow(TAKE_UP, id) if mine else None
        if taken is None:
            return
        if taken["attempts"] > ATTEMPTS_MAX:
            await fail(pool, id, str(NeverEnded(attempts=ATTEMPTS_MAX)))
            return
        heard = TrialProgress()
        positions = [parse_position(each) for each in taken["position"].split(",")]
        trying = _try(pool, taken["rulebook"], positions, store, heard)
        if (trial := await _while_wanted(pool, id, trying, heard)) is not None:
            await _finish(pool, id, trial)


async def fail(pool: Pool[Record], id: UUID, error: str) -> None:
    """Nobody takes it up again."""
    await pool.execute(FAIL, id, error)


async def _try(
    pool: Pool[Record], digest: str, positions: list[Position], store: Store | None, heard: TrialProgress
) -> Trial:
    return await try_rulebook(
        pool,
        await _find(pool, digest),
        positions,
        source="segments" if store else "postgres",
        store=store,
        progress=heard.report,
    )


async def _find(pool: Pool[Record], digest: str) -> Rulebook:
    async with take_snapshot(pool) as snapshot:
        return await find_rulebook(snapshot, digest)


async def _while_wanted(
    pool: Pool[Record], id: UUID, trying: Coroutine[object, object, Trial], heard: TrialProgress
) -> Trial | None:
    """Its result, or None if it was cancelled meanwhile."""
    task = asyncio.create_task(trying)
    try:
        while not (await asyncio.wait([task], timeout=_TELL_SECONDS))[0]:
            if await pool.fetchval(MOVE, id, heard.done, heard.total) is None:
                return None
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _finish(pool: Pool[Record], id: UUID, trial: Trial) -> None:
    totals, result = msgspec.json.encode(total(trial)), msgspec.json.encode(trial)
    await pool.execute(FINISH, id, trial.events, trial.against, totals, result)
