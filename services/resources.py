"""Resources: the pool of Postgres connections, and the folder of segments, opened here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg
from asyncpg import Connection, Pool, Record
from msgspec import Struct

from eventstore.sealed.seal import SealPlan
from eventstore.sealed.store import Store
from services.settings import Settings, SettingsError

# The app works as a role that cannot change history, with bounds on everything that waits.
_APP = {
    "role": "shiplog_app",
    "search_path": "public, read_models",
    "TimeZone": "UTC",
    "application_name": "shiplog",
    "statement_timeout": "3s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "10s",
    "plan_cache_mode": "force_generic_plan",
}
DURABILITY = ("fsync", "full_page_writes", "synchronous_commit")
READ_DURABILITY = "SELECT name, setting FROM pg_settings WHERE name = ANY($1)"


class NotDurable(Exception):
    """Postgres would acknowledge votes before they are safe."""


async def open_pool(
    settings: Settings, *, session: Mapping[str, str] = {}, size: int | None = None
) -> Pool[Record]:
    """Connections under the app's role; ``session`` sets what is different there. Raises NotDurable when the server could lose what it acknowledged."""
    pool = await asyncpg.create_pool(
        settings.database_url,
        min_size=0,
        max_size=size or settings.pool_size,
        timeout=5,
        command_timeout=600,
        server_settings={**_APP, **session},
        init=_prepare,
        reset=_tidy,
    )
    try:
        await check_durable(pool)
    except BaseException:
        await pool.close()
        raise
    return pool


class Sealing(Struct, frozen=True):
    """Where history is sealed, in which portions, and on how many threads DuckDB works."""

    store: Store
    plan: SealPlan
    threads: int


def sealing_of(settings: Settings) -> Sealing:
    """Raises SettingsError when no folder is set."""
    if settings.segments is None:
        raise SettingsError("SHIPLOG_SEGMENTS is not set. Set it to the folder that keeps sealed history.")
    plan = SealPlan(settings.segment, settings.seal_behind)
    return Sealing(Store(settings.segments.resolve()), plan, settings.fold_threads)


async def check_durable(pool: Pool[Record]) -> None:
    off = [name for name, setting in await pool.fetch(READ_DURABILITY, list(DURABILITY)) if setting == "off"]
    if off:
        raise NotDurable(
            f"Postgres runs with {', '.join(off)} = off: acknowledged votes could be lost. Turn it on."
        )


async def _tidy(conn: Connection[Record]) -> None:
    """Nobody here changes a session, so a returned connection needs no round trip, unless it was interrupted."""
    if conn.is_in_transaction():
        await conn.reset()


async def _prepare(conn: Connection[Record]) -> None:
    """jsonb travels as the bytes of its JSON; the binary form is a version byte and the text."""
    await conn.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda json: b"\x01" + json,
        decoder=lambda packed: packed[1:],
    )
