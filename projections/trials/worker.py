"""The worker of trials: runs a trial to its end, stores its progress, and stops when it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from uuid import UUID

import msgspec
from asyncpg import Pool, Record

from domain.shared.errors import Rejected
from domain.shared.log import Position, parse_position
from domain.timeline.trials import Trial, total
from eventstore.advisory_lock import exclusively
from eventstore.sealed.store import Store
from projections.engine.snapshot import take_snapshot
from projections.rulebooks import find_rulebook
from projections.trials.run import try_rulebook

ATTEMPTS_MAX = 5

CLAIM_TRIAL = """
UPDATE trials SET attempts = attempts + 1, begun_at = clock_timestamp(), done = 0, total = 0
 WHERE id = $1 AND state = 'running' RETURNING rulebook, position, attempts
"""
SAVE_PROGRESS = "UPDATE trials SET done = $2, total = $3 WHERE id = $1 AND state = 'running' RETURNING id"
SAVE_RESULT = """
UPDATE trials SET state = 'done', ended_at = clock_timestamp(), done = $2, total = $2, against = $3, totals = $4, result = $5
 WHERE id = $1 AND state = 'running'
"""
FAIL_TRIAL = """
UPDATE trials SET state = 'failed', ended_at = clock_timestamp(), error = $2 WHERE id = $1 AND state = 'running'
"""

_PROGRESS_SECONDS = 0.3


class AttemptsExhausted(Rejected):
    """Workers began this trial {attempts} times and none finished it. Their logs say why."""


class TrialProgress:
    """Events read and their total, as last reported."""

    def __init__(self) -> None:
        self.done = self.total = 0

    def report(self, done: int, total: int) -> None:
        self.done, self.total = done, total


async def run(pool: Pool[Record], id: UUID, store: Store | None = None) -> None:
    """Run a trial from the start, unless another process runs it. Returns early when it is cancelled.

    After a crash the next call starts again, with the same result: the positions are stored with the trial.
    """
    async with exclusively(pool, "shiplog trial", str(id)) as locked:
        claimed = await pool.fetchrow(CLAIM_TRIAL, id) if locked else None
        if claimed is None:
            return
        if claimed["attempts"] > ATTEMPTS_MAX:
            await fail(pool, id, str(AttemptsExhausted(attempts=ATTEMPTS_MAX)))
            return
        progress = TrialProgress()
        positions = [parse_position(each) for each in claimed["position"].split(",")]
        trial_run = _try(pool, claimed["rulebook"], positions, store, progress)
        if (trial := await _run_until_cancelled(pool, id, trial_run, progress)) is not None:
            await _finish(pool, id, trial)


async def fail(pool: Pool[Record], id: UUID, error: str) -> None:
    """End a trial with an error. It is not tried again."""
    await pool.execute(FAIL_TRIAL, id, error)


async def _try(
    pool: Pool[Record], digest: str, positions: list[Position], store: Store | None, progress: TrialProgress
) -> Trial:
    async with take_snapshot(pool) as snapshot:
        rulebook = await find_rulebook(snapshot, digest)
    return await try_rulebook(
        pool,
        rulebook,
        positions,
        source="segments" if store else "postgres",
        store=store,
        progress=progress.report,
    )


async def _run_until_cancelled(
    pool: Pool[Record], id: UUID, trial_run: Coroutine[object, object, Trial], progress: TrialProgress
) -> Trial | None:
    """None if the trial was cancelled meanwhile. Stores the progress every 0.3 seconds."""
    task = asyncio.create_task(trial_run)
    try:
        while not (await asyncio.wait([task], timeout=_PROGRESS_SECONDS))[0]:
            if await pool.fetchval(SAVE_PROGRESS, id, progress.done, progress.total) is None:
                return None
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _finish(pool: Pool[Record], id: UUID, trial: Trial) -> None:
    totals, result = msgspec.json.encode(total(trial)), msgspec.json.encode(trial)
    await pool.execute(SAVE_RESULT, id, trial.events, trial.against, totals, result)
