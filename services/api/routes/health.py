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
from services.api.http.problems import problem_responses
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
    """The process can commit votes; 503 when it cannot."""
    pool = app_state(request).pool
    async with asyncio.timeout(2):
        if not await pool.fetchval(CAN_COMMIT):
            raise asyncpg.ReadOnlySQLTransactionError("the database is read-only")
        behind = {lag.projection: lag.events for lag in await read_lag(pool)}
        redis: Literal["ok", "absent"] = "ok" if await app_state(request).wakeups.is_up() else "absent"
        readiness = await _readiness(pool, behind, redis)
    return Response(readiness, headers={"Cache-Control": "no-store"})


async def _readiness(pool: Pool[Record], behind: dict[str, int], redis: Literal["ok", "absent"]) -> Readiness:
    blocked = [*await read_blocked(pool, PROJECTIONS), *await read_flips_blocked(pool)]
    stopped = [str(each) for each in blocked]
    unknown = {each.type: str(each.position) for each in await read_unknown_types(pool, PROJECTIONS)}
    return Readiness("ready", behind, redis, await count_parked(pool), stopped, unknown)
