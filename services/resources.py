"""Resources: the pool of Postgres connections and the folder of segments. Processes open both here only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import asyncpg
from asyncpg import Connection, InterfaceError, InternalClientError, PostgresError, Record
from msgspec import Struct

from eventstore.deadlines import DeadlinePool
from eventstore.sealed.seal import SealPlan
from eventstore.sealed.store import Store
from services.database import SEARCH_PATH, act_as_app, check_database
from services.settings import Settings, SettingsError

# Raised while Postgres is down, restarting or unreachable. asyncpg raises InternalClientError when a connection breaks
# in the middle of its own protocol.
POSTGRES_UNAVAILABLE = (PostgresError, InterfaceError, InternalClientError, OSError, TimeoutError)

# Every wait has a timeout.

_APP = {
    "search_path": SEARCH_PATH,
    "TimeZone": "UTC",
    "application_name": "shiplog",
    "statement_timeout": "3s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
    "plan_cache_mode": "force_generic_plan",
}


async def open_pool(
    settings: Settings,
    *,
    session: Mapping[str, str] = {},
    size: int | None = None,
    seconds: float | None = None,
) -> DeadlinePool:
    """Connections with the app's role, which cannot change history; ``session`` overrides settings.

    ``seconds`` limits each use of a connection. Raises DatabaseUnusable.
    """
    pool = await DeadlinePool(
        settings.database_url,
        size=size or settings.pool_size,
        seconds=seconds,
        connect=_connect,
        timeout=5,
        command_timeout=600 if seconds is None else seconds,
        server_settings={**_APP, **session},
        reset=_reset,
    )
    try:
        await check_database(pool, settings)
    except BaseException:
        await pool.close()
        raise
    return pool


class Sealing(Struct, frozen=True):
    """Where segments are written, of which size, and the number of DuckDB's threads."""

    store: Store
    plan: SealPlan
    threads: int


def sealing_of(settings: Settings) -> Sealing:
    """Raises SettingsError when no folder is set."""
    if settings.segments is None:
        raise SettingsError("SHIPLOG_SEGMENTS is not set. Set it to the folder that keeps sealed history.")
    plan = SealPlan(settings.segment, settings.seal_behind)
    return Sealing(Store(settings.segments.resolve()), plan, settings.fold_threads)


async def _reset(conn: Connection[Record]) -> None:
    """Skip asyncpg's RESET, a round trip: no code here changes a session. Only an open transaction is rolled back."""
    if conn.is_in_transaction():
        await conn.reset()


async def _connect(*args: Any, **kwargs: Any) -> Connection[Record]:
    """Aborts a connection that is not ready in time. The pool's ``init`` would close it, and wait for the server."""
    conn: Connection[Record] = await asyncpg.connect(*args, **kwargs)
    try:
        async with asyncio.timeout(kwargs["timeout"]):
            await _prepare_session(conn)
    except BaseException:
        conn.terminate()
        raise
    return conn


async def _prepare_session(conn: Connection[Record]) -> None:
    """Act as the app's role. Pass jsonb as bytes of JSON: its binary format is a version byte and the text."""
    await act_as_app(conn)
    await conn.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda json: b"\x01" + json,
        decoder=lambda packed: packed[1:],
    )
