"""Health and readiness of an API process."""

from __future__ import annotations

import asyncio
from typing import Literal

import asyncpg
from asyncpg import Pool, Record
from litestar import Response, get
from msgspec import Struct

from projections.engine.blocked import read_blocked, read_unknown_types
from projections.engine.lag import read_lag
from projections.engine.parked import count_parked
from projections.engine.registry import PROJECTIONS
from projections.flips.batches import read_flips_blocked
from services.api.http.app_state import app_state
from services.api.http.auth import open_to_all
from services.api.http.problems import HttpRejected, problem_responses
from services.api.http.requests import AnyRequest

# False on a standby and on a read-only server.
CAN_COMMIT = "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'"


class Health(Struct, frozen=True):
    status: Literal["ok"] = "ok"


class Readiness(Struct, frozen=True):
    """``events_behind`` and ``incomplete``, the events that could not be folded, are by read model.

    Without Redis, read models follow more slowly. ``stopped`` lists the read models that are blocked by an event of a newer
    release, and where. ``unread`` has the event types that this release does not know, with the first position of each.
    """

    status: Literal["ready"]
    events_behind: dict[str, int]
    redis: Literal["ok", "absent"]
    incomplete: dict[str, int]
    stopped: list[str]
    unread: dict[str, str]


@get("/healthz", guards=[open_to_all])
async def healthz() -> Health:
    """The process is up."""
    return Health()


@get("/readyz", guards=[open_to_all], responses=problem_responses())
async def readyz(request: AnyRequest) -> Response[Readiness]:
    """The process can commit votes, and the read models follow the log; 503 when not, with the reason."""
    pool = app_state(request).pool
    async with asyncio.timeout(2):
        if not await pool.fetchval(CAN_COMMIT):
            raise asyncpg.ReadOnlySQLTransactionError("the database is read-only")
        if (error := app_state(request).appenders.storage_error) is not None:
            raise _not_ready(f"Votes cannot be stored: {error}. Make room on the disk of the database.")
        lags = await read_lag(pool)
        redis: Literal["ok", "absent"] = "ok" if await app_state(request).wakeups.is_up() else "absent"
        blocked = [*await read_blocked(pool, PROJECTIONS), *await read_flips_blocked(pool)]
        app_state(request).progress.observe(lags)
        if stuck := app_state(request).progress.stuck(lags, {each.projection for each in blocked}):
            raise _not_ready(f"{'; '.join(stuck)}. Votes are stored; see whether a worker runs, and its log.")
        behind = {lag.projection: lag.events for lag in lags}
        readiness = await _readiness(pool, behind, redis, [str(each) for each in blocked])
    return Response(readiness, headers={"Cache-Control": "no-store"})


def _not_ready(detail: str) -> HttpRejected:
    return HttpRejected(503, "not-ready", detail, {"Retry-After": "5"})


async def _readiness(
    pool: Pool[Record], behind: dict[str, int], redis: Literal["ok", "absent"], stopped: list[str]
) -> Readiness:
    unknown = {each.type: str(each.position) for each in await read_unknown_types(pool, PROJECTIONS)}
    return Readiness("ready", behind, redis, await count_parked(pool), stopped, unknown)
