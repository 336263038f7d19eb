"""Stalls: a statement whose answer was lost with a network would be awaited for ever, so a silent Postgres ends all of them."""

from __future__ import annotations

import asyncio

import structlog
from asyncpg import PostgresConnectionError

from eventstore.deadlines import DeadlinePool
from services.resources import POSTGRES_UNAVAILABLE

PROBE_SECONDS_MAX = 4.0
_BETWEEN_SECONDS = 1.0
_SILENT_PROBES = 2  # one may be late because this process was busy
_log = structlog.get_logger()


async def abort_stalled_statements(pool: DeadlinePool, probes: DeadlinePool) -> None:
    """Abort the connections of ``pool`` in use when Postgres does not answer ``probes``. Their jobs run again.

    A worker's statements may take long, so no time limit of their own shows whether they are still worked on.
    """
    silent = 0
    while True:
        silent = 0 if await _answers(probes) else silent + 1
        if silent >= _SILENT_PROBES:
            _log.warning("Postgres does not answer; its statements are aborted")
            pool.abort_all()
            silent = 0
        await asyncio.sleep(_BETWEEN_SECONDS)


async def _answers(probes: DeadlinePool) -> bool:
    """A refusal is an answer."""
    try:
        await probes.execute("SELECT")
    except (TimeoutError, PostgresConnectionError):
        return False
    except POSTGRES_UNAVAILABLE:
        return True
    return True
