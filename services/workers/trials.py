"""Runs requested trials one after the other. Safe to run in several workers: each trial is claimed by one."""

from __future__ import annotations

from uuid import UUID

import structlog
from asyncpg import Pool, Record

from eventstore.sealed.manifest import SegmentError
from eventstore.sealed.store import Store
from projections.trials import jobs as trials
from projections.trials import worker
from services.workers.guard import UNAVAILABLE, survive_outages
from services.workers.jobs import Context

_FAILED = (
    "The trial failed in a worker; the worker's log has the reason. Ask for it again once that is fixed."
)
_log = structlog.get_logger()


@survive_outages
async def run_trials(ctx: Context) -> int:
    """Run every trial that is under way to its end. Returns the number of trials."""
    running = await trials.running(ctx["pool"])
    for each in running:
        await _run_one(ctx, each)
    return len(running)


async def _run_one(ctx: Context, id: UUID) -> None:
    """A trial that fails does not stop the next one."""
    sealing = ctx.get("sealing")
    try:
        await _run(ctx["pool"], id, sealing.store if sealing else None)
    except UNAVAILABLE:
        raise
    except Exception as error:  # noqa: BLE001 - a failed trial is logged and reported, and the worker goes on
        _log.exception("a trial failed", trial=str(id), exc_info=error)
        await worker.fail(ctx["pool"], id, _FAILED)


async def _run(pool: Pool[Record], id: UUID, store: Store | None) -> None:
    """Postgres still has everything that is sealed, so damaged segments only cost speed."""
    try:
        await worker.run(pool, id, store)
    except SegmentError as error:
        _log.error("sealed history is damaged; the trial reads Postgres instead", error=str(error))
        await worker.run(pool, id)
