"""What has to hold before a process uses Postgres, and every failure to reach it as one line that says what to do."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import urlsplit

import asyncpg
from asyncpg import Connection, InterfaceError, InternalClientError, PostgresError, Record
from asyncpg.exceptions import ClientConfigurationError, ProtocolViolationError
from asyncpg.pool import PoolConnectionProxy

from eventstore.migrations import newer_than, read_migrations
from eventstore.roles import become_app
from services.settings import DURABILITY, Settings

AnyConnection: TypeAlias = "Connection[Record] | PoolConnectionProxy[Record]"

VERSION_MIN = 15
CONNECT_TIMEOUT_SECONDS = 5
RETRY_SECONDS = 0.5
WAIT_SECONDS = 10.0  # of `serve` and `work` for a database that starts together with them

READ_FACTS = """
SELECT current_setting('server_version_num')::int / 10000 AS version,
       ARRAY(SELECT name FROM pg_settings WHERE name = ANY ($1) AND setting = 'off' ORDER BY name) AS off,
       to_regclass('public.schema_migrations') IS NOT NULL AS migrated,
       current_setting('search_path') = $2 AS settings_hold,
       coalesce(has_table_privilege(current_user, to_regclass('public.events'), 'INSERT'), false) AS granted
"""
READ_VERSIONS = "SELECT version FROM public.schema_migrations"
SEARCH_PATH = "public, read_models"

CONNECT_DIRECTLY = (
    "DATABASE_URL leads to a connection pooler such as PgBouncer, which does not pass on the settings of a session. "
    "Connect directly to PostgreSQL: Shiplog has a pool of its own (SHIPLOG_POOL_SIZE)."
)
NOT_MIGRATED = "The database is not migrated. Run `shiplog migrate`."


class DatabaseUnusable(Exception):
    """Postgres cannot be used as it is. The text is one line that says what to do."""


class DatabaseUnreachable(DatabaseUnusable):
    """Postgres cannot be reached now, but might be in a moment."""


class NotDurable(DatabaseUnusable):
    """Postgres would acknowledge votes before they are on disk."""


async def connect(settings: Settings, **session: str) -> Connection[Record]:
    """A connection as the user of DATABASE_URL, for `migrate`. Raises DatabaseUnusable."""
    try:
        conn = await asyncpg.connect(
            settings.database_url,
            timeout=CONNECT_TIMEOUT_SECONDS,
            server_settings={"TimeZone": "UTC", "search_path": SEARCH_PATH, **session},
        )
    except _FAILURES as error:
        raise explain(error, settings.database_url) from error
    facts = await conn.fetchrow(READ_FACTS, list(DURABILITY), SEARCH_PATH)
    try:
        _check_server(facts)
    except DatabaseUnusable:
        await conn.close()
        raise
    return conn


async def act_as_app(conn: Connection[Record]) -> None:
    """Give up the owner's rights, for good. Raises DatabaseUnusable if the schema or the role is missing."""
    if not await become_app(conn):
        if await conn.fetchval("SELECT to_regclass('public.events') IS NULL"):
            raise DatabaseUnusable(NOT_MIGRATED)
        raise DatabaseUnusable(
            "The role that Shiplog works under is missing, as after a restore: run `shiplog migrate`."
        )


async def check_database(pool: asyncpg.Pool[Record], settings: Settings) -> None:
    """Raises DatabaseUnusable, NotDurable if a crash of Postgres could lose commits."""
    try:
        async with pool.acquire() as conn:
            await _check_usable(conn, settings)
    except _FAILURES as error:
        raise explain(error, settings.database_url) from error


async def _check_usable(conn: AnyConnection, settings: Settings) -> None:
    """The checks of a session of the app's role."""
    facts = await conn.fetchrow(READ_FACTS, list(DURABILITY), SEARCH_PATH)
    _check_server(facts)
    assert facts is not None
    check_durable(facts["off"], settings.accept_unsafe_durability)
    if not facts["granted"]:
        raise DatabaseUnusable("Grants are missing, as after a restore: run `shiplog migrate`.")
    recorded = await _recorded_versions(conn)
    if missing := [each.name for each in read_migrations() if each.version not in recorded]:
        raise DatabaseUnusable(
            f"The database lacks the migration {missing[0]} of this release. Run `shiplog migrate`."
        )


async def _recorded_versions(conn: AnyConnection) -> set[str]:
    """As the user of DATABASE_URL: the app's role may not read them."""
    async with conn.transaction():
        await conn.execute("SET LOCAL ROLE NONE")
        return {row[0] for row in await conn.fetch(READ_VERSIONS)}


def newer_versions(recorded: set[str]) -> list[str]:
    """The migrations in the database that this release does not have."""
    return newer_than(read_migrations(), recorded)


def check_durable(off: list[str], accepted: frozenset[str]) -> None:
    if unsafe := [name for name in off if name not in accepted]:
        raise NotDurable(
            f"Postgres runs with {', '.join(unsafe)} = off: acknowledged votes could be lost. Turn it on. If your "
            "provider keeps commits safe in another way, as Neon does, set "
            f"SHIPLOG_ACCEPT_UNSAFE_DURABILITY={','.join(unsafe)}."
        )


def _check_server(facts: Record | None) -> None:
    if facts is None or not facts["settings_hold"]:
        raise DatabaseUnusable(CONNECT_DIRECTLY)
    if facts["version"] < VERSION_MIN:
        raise DatabaseUnusable(
            f"PostgreSQL {facts['version']} is too old: Shiplog needs {VERSION_MIN} or newer."
        )


def wait_for_database(settings: Settings, say: Callable[[str], None], seconds: float = WAIT_SECONDS) -> None:
    """Return once Postgres can be used. What waiting does not mend ends it at once. Raises DatabaseUnusable."""
    asyncio.run(_wait(settings, say, seconds))


async def _wait(settings: Settings, say: Callable[[str], None], seconds: float) -> None:
    deadline, announced = time.monotonic() + seconds, False
    while True:
        try:
            await _try(settings)
        except DatabaseUnreachable as error:
            if time.monotonic() > deadline:
                raise
            if not announced:
                say(f"{error} Waiting for it up to {seconds:.0f} s.")
            announced = True
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


async def _try(settings: Settings) -> None:
    conn = await connect(settings)
    try:
        await act_as_app(conn)
        await _check_usable(conn, settings)
    finally:
        await conn.close()


_FAILURES = (PostgresError, InterfaceError, InternalClientError, ssl.SSLError, OSError, ValueError)


def explain(error: Exception, url: str) -> DatabaseUnusable:
    """The failure in one line. Never repeats the URL, which may hold a password."""
    place, text = _place(url), " ".join(str(error).split()) or type(error).__name__
    match error:
        case DatabaseUnusable():
            return error
        case asyncpg.CannotConnectNowError():
            return DatabaseUnreachable(f"PostgreSQL at {place} is starting or stopping: {text}.")
        case asyncpg.TooManyConnectionsError():
            return DatabaseUnreachable(
                f"PostgreSQL at {place} has no connection left: {text}. "
                "Lower SHIPLOG_POOL_SIZE or the number of processes, or raise max_connections."
            )
        case PostgresError():
            return DatabaseUnusable(_explain_answer(error, place, text))
        case _:
            return _explain_failure(error, place, text)


def _explain_answer(error: PostgresError, place: str, text: str) -> str:
    match error:
        case ProtocolViolationError() if "startup parameter" in text:
            return CONNECT_DIRECTLY
        case asyncpg.InvalidAuthorizationSpecificationError() if "no encryption" in text:
            return f"PostgreSQL at {place} accepts TLS only: {text}. Add ?sslmode=require to DATABASE_URL."
        case asyncpg.InvalidAuthorizationSpecificationError():
            return (
                f"PostgreSQL at {place} refused to log in: {text}. Check user and password in DATABASE_URL."
            )
        case asyncpg.InvalidCatalogNameError():
            return f"PostgreSQL at {place}: {text}. Create it with createdb, or correct DATABASE_URL."
        case (
            asyncpg.UndefinedTableError()
            | asyncpg.UndefinedFunctionError()
            | asyncpg.InvalidSchemaNameError()
        ):
            return f"The database does not fit this release: {text}. Run `shiplog migrate`."
        case asyncpg.InsufficientPrivilegeError():
            return f"PostgreSQL refused: {text}. Run `shiplog migrate` as the owner of the database."
        case _:
            return f"PostgreSQL: {text}."


def _explain_failure(error: Exception, place: str, text: str) -> DatabaseUnusable:
    match error:
        case ClientConfigurationError() | ValueError():
            return DatabaseUnusable(f"DATABASE_URL cannot be used: {text}.")
        case socket.gaierror():
            return DatabaseUnreachable(
                f"The host of DATABASE_URL, {place}, is not known: {text}. In a password, write @ as %40 and / as %2F."
            )
        case ssl.SSLError():
            return DatabaseUnusable(f"TLS to PostgreSQL at {place} failed: {text}.")
        case ConnectionError() if "SSL" in text:
            return DatabaseUnusable(f"{text}. Change sslmode in DATABASE_URL.")
        case TimeoutError():
            return DatabaseUnreachable(
                f"PostgreSQL at {place} did not answer within {CONNECT_TIMEOUT_SECONDS} s. Is it running?"
            )
        case _:
            return DatabaseUnreachable(f"PostgreSQL at {place} cannot be reached: {text}. Is it running?")


def _place(url: str) -> str:
    """Host and port, without user and password."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname or 'localhost'}:{parts.port or 5432}"
    except ValueError:
        return "the host of DATABASE_URL"
