"""Trials that were asked for, taken to their end one after the other; beside other workers, each by one."""

from __future__ import annotations

from uuid import UUID

import structlog
from asyncpg import InterfaceError, Pool, PostgresError, Record

from eventstore.sealed.manifest import SegmentError
from eventstore.sealed.store import Store
from projections.trials import jobs as trials
from projections.trials import worker as trial_runs
from services.workers.jobs import Context

_UNREACHABLE = (PostgresError, InterfaceError, OSError, TimeoutError)
_FAILED = "Something went wrong in a worker, whose log says what. Ask for the trial again once it is seen to."
_log = structlog.get_logger()


async def try_out(ctx: Context) -> int:
    """Take trials that are under way to their end, whoever asked for them. Returns how many there were."""
    try:
        running = await trials.running(ctx["pool"])
        for each in running:
            await _try_one(ctx, each)
    except _UNREACHABLE as error:
        _log.warning("a trial was interrupted; it begins anew", error=str(error))
        return 0
    return len(running)


async def _try_one(ctx: Context, id: UUID) -> None:
    """One that cannot be ended harms nothing else."""
    sealing = ctx.get("sealing")
    try:
        await _run(ctx["pool"], id, sealing.store if sealing else None)
    except _UNREACHABLE:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is logged and told, and the worker goes on
        _log.exception("a trial failed", trial=str(id), exc_info=error)
        await trial_runs.fail(ctx["pool"], id, _FAILED)


async def _run(pool: Pool[Record], id: UUID, store: Store | None) -> None:
    """Postgres has what is sealed too."""
    try:
        await trial_runs.run(pool, id, store)
    except SegmentError as error:
        _log.error("a trial reads Postgres alone, for sealed history is damaged", error=str(error))
        await trial_runs.run(pool, id)
