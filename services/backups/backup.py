"""Backing up: every durable table as of one moment, while the instance goes on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import msgspec
from asyncpg import Connection, Record

from services.backups.archive import (
    FORMAT,
    MANIFEST,
    SECRET,
    BackupManifest,
    TableCopy,
    create_archive,
    fingerprint,
    open_table,
)
from services.database import connect
from services.settings import Settings

# Folded from the log again after a restore, written by `migrate`, or not to be revived: sessions.
LEFT_OUT = (
    "checkpoints",
    "definitions",
    "parked_events",
    "repeatable_migrations",
    "replay_ranges",
    "schema_migrations",
    "sessions",
    "unread_types",
    "verifications",
)
# Referenced tables come first. Rows are in the order of the primary key, whose index then grows at its end.
READ_TABLES = """
WITH RECURSIVE tables AS (
    SELECT oid, relname FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
), depths AS (
    SELECT oid, 0 AS depth FROM tables
     UNION
    SELECT c.conrelid, d.depth + 1 FROM depths AS d JOIN pg_constraint AS c ON c.confrelid = d.oid AND c.contype = 'f'
     WHERE c.conrelid <> d.oid AND d.depth < 9
)
SELECT t.relname AS name,
       ARRAY(SELECT attname::text FROM pg_attribute
              WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum) AS columns,
       ARRAY(SELECT a.attname::text FROM pg_index AS i, unnest(i.indkey) WITH ORDINALITY AS k (attnum, n)
               JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.attnum
              WHERE i.indrelid = t.oid AND i.indisprimary ORDER BY k.n) AS key
  FROM tables AS t WHERE relname <> ALL ($1)
 ORDER BY (SELECT max(depth) FROM depths AS d WHERE d.oid = t.oid), relname
"""
READ_MIGRATIONS = "SELECT version FROM schema_migrations ORDER BY version"
READ_HEADS = "SELECT shard, position FROM heads ORDER BY shard"


async def back_up(
    settings: Settings, path: Path, *, with_secret: bool, progress: Callable[[int, str], None]
) -> BackupManifest:
    """Write the archive. Raises FileExistsError, DatabaseUnusable."""
    conn = await connect(settings)
    try:
        with create_archive(path) as archive:
            async with conn.transaction(isolation="repeatable_read", readonly=True):
                manifest = await _write(conn, archive, settings, progress)
            archive.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
            if with_secret:
                archive.writestr(SECRET, settings.secret)
    finally:
        await conn.close()
    return manifest


async def _write(
    conn: Connection[Record], archive: ZipFile, settings: Settings, progress: Callable[[int, str], None]
) -> BackupManifest:
    tables = list[TableCopy]()
    for row in await conn.fetch(READ_TABLES, LEFT_OUT):
        tables.append(await _copy(conn, archive, row))
        progress(sum(table.bytes for table in tables), row["name"])
    return BackupManifest(
        format=FORMAT,
        release=version("shiplog-server"),
        made_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        migrations=[row["version"] for row in await conn.fetch(READ_MIGRATIONS)],
        heads={row["shard"]: row["position"] for row in await conn.fetch(READ_HEADS)},
        secret=fingerprint(settings.secret),
        tables=tables,
    )


async def _copy(conn: Connection[Record], archive: ZipFile, row: Record) -> TableCopy:
    columns = ", ".join(f'"{column}"' for column in row["columns"])
    order = ", ".join(f'"{column}"' for column in row["key"]) or "1"
    with open_table(archive, row["name"]) as writer:
        done = await conn.copy_from_query(
            f'SELECT {columns} FROM public."{row["name"]}" ORDER BY {order}', output=writer.write
        )
    return TableCopy(
        row["name"], row["columns"], int(done.removeprefix("COPY ")), writer.bytes, writer.sha256
    )
