"""Restoring: one transaction creates the schema of the backup, loads its tables and checks them; then read models are folded.

An error leaves the database as it was. No other process may use it: what API processes and workers have in memory
is of a log that no longer exists.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from zipfile import ZipFile

from asyncpg import Connection, Record

from eventstore.heads import EVENTS_AHEAD
from eventstore.migrations import migrate, newer_than, read_migrations, read_repeatable_migrations
from services.backups.archive import ArchiveError, BackupManifest, TableCopy, read_table
from services.database import connect
from services.settings import Settings

LOCK_MIGRATIONS = "SELECT pg_try_advisory_lock(hashtext('shiplog migrate'))"
HAS_EVENTS = "SELECT to_regclass('public.events') IS NOT NULL"
IS_EMPTY = "SELECT NOT EXISTS (SELECT FROM events) AND NOT EXISTS (SELECT FROM users)"
COUNT_OTHERS = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'shiplog%'
"""
SET_NO_TIME_LIMITS = "SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = 0"
READ_INCOMPLETE_SHARDS = """
SELECT h.shard, h.position, e.count, e.last
  FROM heads AS h
  LEFT JOIN (SELECT shard, count(*), max(position) AS last FROM events GROUP BY shard) AS e USING (shard)
 WHERE h.position <> coalesce(e.count, 0) OR h.position <> coalesce(e.last, 0)
"""
CANCEL_REPLAYS = """
UPDATE replays SET state = 'cancelled', ended_at = clock_timestamp(), reason = 'restored from a backup'
 WHERE ended_at IS NULL
"""

_TABLE = re.compile(r"^CREATE TABLE (?:IF NOT EXISTS )?(\w+)", re.MULTILINE)


class RestoreRefused(Exception):
    """The database is not empty, is in use, or is older than the backup."""


async def restore(
    settings: Settings,
    archive: ZipFile,
    manifest: BackupManifest,
    *,
    replace: bool,
    progress: Callable[[int, str], None],
) -> None:
    """Load the tables. ``shiplog migrate`` is to follow. Raises RestoreRefused, ArchiveError, DatabaseUnusable."""
    if newer := newer_than(read_migrations(), manifest.migrations):
        raise RestoreRefused(
            f"The backup is of a newer release, {manifest.release} ({', '.join(newer)}). Restore it with that release."
        )
    conn = await connect(settings)
    try:
        await _check_target(conn, replace=replace)
        async with conn.transaction():
            await _create_schema(conn, manifest)
            await _load(conn, archive, manifest, progress)
            await conn.execute(CANCEL_REPLAYS)
    finally:
        await conn.close()


async def _check_target(conn: Connection[Record], *, replace: bool) -> None:
    if not await conn.fetchval(LOCK_MIGRATIONS) or await conn.fetchval(COUNT_OTHERS):
        raise RestoreRefused(
            "Other processes of Shiplog use the database. Stop `up`, `serve` and `work` first."
        )
    if not replace and await conn.fetchval(HAS_EVENTS) and not await conn.fetchval(IS_EMPTY):
        raise RestoreRefused(
            "The database is not empty. Restore into a new one, or replace everything in it with --replace."
        )


async def _create_schema(conn: Connection[Record], manifest: BackupManifest) -> None:
    """The schema as it was when the backup was made, so that later migrations change the data as they would have."""
    await conn.execute(SET_NO_TIME_LIMITS)
    await conn.execute("DROP SCHEMA IF EXISTS read_models CASCADE")
    for table in _tables():
        await conn.execute(f"DROP TABLE IF EXISTS public.{table} CASCADE")
    await migrate(conn, only=manifest.migrations)
    for function in read_repeatable_migrations():
        if function.file.endswith("/extend_events.sql"):
            await conn.execute(function.sql)
    await conn.execute(SET_NO_TIME_LIMITS)
    await conn.execute("SELECT extend_events($1)", max(manifest.heads.values()) + EVENTS_AHEAD)


def _tables() -> Iterator[str]:
    yield from ("schema_migrations", "repeatable_migrations")
    for migration in read_migrations():
        yield from _TABLE.findall(migration.up)


async def _load(
    conn: Connection[Record],
    archive: ZipFile,
    manifest: BackupManifest,
    progress: Callable[[int, str], None],
) -> None:
    done = 0

    async def chunks(table: TableCopy) -> AsyncIterator[bytes]:
        nonlocal done
        for chunk in read_table(archive, table):
            yield chunk
            done += len(chunk)
            progress(done, table.name)

    for table in manifest.tables:
        status = await conn.copy_to_table(
            table.name, schema_name="public", columns=table.columns, source=chunks(table)
        )
        if status != f"COPY {table.rows}":
            raise ArchiveError(f"The table {table.name} has {table.rows} rows in the manifest: {status}.")
    if broken := await conn.fetch(READ_INCOMPLETE_SHARDS):
        raise ArchiveError(f"The log in the backup has gaps: {dict(broken[0])}.")
    heads = {row[0]: row[1] for row in await conn.fetch("SELECT shard, position FROM heads")}
    if heads != manifest.heads:
        raise ArchiveError(f"The log ends at {heads}, and the manifest says {manifest.heads}.")
