"""Migrations: numbered .sql files in dbmate's format, applied once each; functions and comments, applied when they change."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from asyncpg import Connection, Record
from msgspec import Struct

from eventstore.roles import ensure_role, restore_grants, with_role

FOLDER = Path(__file__).resolve().parent.parent / "migrations"
COMMENTS = "comments.sql"
NOT_MIGRATIONS = {COMMENTS, "schema.sql"}
# The migrations of an earlier release, which were squashed into today's 0001 to 0005. No new file may have one of the
# other numbers: the next one is 0015.
SQUASHED = [f"{number:04}" for number in range(1, 15)]

LOCK_MIGRATIONS = "SELECT pg_advisory_xact_lock(hashtext('shiplog migrations'))"
SET_TIME_LIMITS = "SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '10min'"
BEFORE_SQUASH = """
SELECT to_regclass('schema_migrations') IS NOT NULL AND to_regclass('repeatable_migrations') IS NULL
"""
CREATE_TABLES = """
CREATE TABLE IF NOT EXISTS schema_migrations (version varchar PRIMARY KEY);
CREATE TABLE IF NOT EXISTS repeatable_migrations (file text PRIMARY KEY, digest text NOT NULL)
"""
READ_VERSIONS = "SELECT version FROM schema_migrations ORDER BY version"
FORGET_SQUASHED = """
DELETE FROM schema_migrations WHERE version BETWEEN '0006' AND '0014' RETURNING version
"""
RENAME_INDEX = "ALTER INDEX IF EXISTS events_of_house RENAME TO editorial_events_by_tool"
FORGET_DIGESTS = "DELETE FROM repeatable_migrations"
RECORD_VERSION = (
    "INSERT INTO schema_migrations (version) VALUES ($1) ON CONFLICT DO NOTHING RETURNING version"
)
RECORD_DIGEST = """
INSERT INTO repeatable_migrations AS r (file, digest) VALUES ($1, $2)
ON CONFLICT (file) DO UPDATE SET digest = excluded.digest WHERE r.digest <> excluded.digest
RETURNING file
"""


class Migration(Struct, frozen=True):
    version: str
    name: str
    up: str


class RepeatableMigration(Struct, frozen=True):
    """A function, or all comments. ``file`` is its path below the folder."""

    file: str
    sql: str

    @property
    def digest(self) -> str:
        return sha256(self.sql.encode()).hexdigest()


class MigrationError(Exception):
    """A migration file or the database cannot be used, or a migration failed; nothing of it was kept."""


def read_migrations(folder: Path = FOLDER) -> list[Migration]:
    """In order of version. Raises MigrationError for a file not named NNNN_name.sql or without migrate:up."""
    found = [_read(path) for path in sorted(folder.glob("*.sql")) if path.name not in NOT_MIGRATIONS]
    for one, other in pairwise(found):
        if one.version == other.version:
            raise MigrationError(
                f"{one.name} and {other.name} are both {one.version}: give each its own number."
            )
    return found


def _read(path: Path) -> Migration:
    named = re.fullmatch(r"(\d{4})_(\w+)\.sql", path.name)
    up = re.search(
        r"^-- migrate:up\n(.*?)(?=^-- migrate:down|\Z)", path.read_text(), re.DOTALL | re.MULTILINE
    )
    if named is None or up is None:
        raise MigrationError(f"{path.name}: name it NNNN_name.sql and start it with '-- migrate:up'.")
    return Migration(named[1], named[2], up[1])


def read_repeatable_migrations(folder: Path = FOLDER) -> list[RepeatableMigration]:
    """The functions in order of their names, then the comments."""
    paths = [*sorted(folder.glob("functions/*.sql")), *folder.glob(COMMENTS)]
    return [RepeatableMigration(str(path.relative_to(folder)), path.read_text()) for path in paths]


async def migrate(
    conn: Connection[Record], folder: Path = FOLDER, *, only: Collection[str] | None = None
) -> list[str]:
    """Bring the durable schema up to date; returns the names of what was applied.

    Each file is applied in a transaction of its own. Concurrent callers wait for each other. The role and its grants are
    made whole again, whatever a restore has lost. Raises MigrationError for a database that an earlier release left half
    migrated or that a newer one has migrated, and RoleError. ``only``: the versions of a backup to load next, without functions.
    """
    applied, migrations = [], read_migrations(folder)
    async with _exclusively(conn):
        if await _take_over(conn):
            applied.append(f"squash of migrations {SQUASHED[0]} to {SQUASHED[-1]}")
        await _refuse_newer(conn, migrations)
        role = await ensure_role(conn)
    for migration in migrations if only is None else [each for each in migrations if each.version in only]:
        async with _exclusively(conn):
            if await conn.fetchval(RECORD_VERSION, migration.version):
                await conn.execute(with_role(migration.up, role))
                applied.append(f"{migration.version} {migration.name}")
    for repeatable in read_repeatable_migrations(folder) if only is None else []:
        async with _exclusively(conn):
            if await conn.fetchval(RECORD_DIGEST, repeatable.file, repeatable.digest):
                await conn.execute(repeatable.sql)
                applied.append(repeatable.file)
    async with _exclusively(conn):
        applied_now = [each.up for each in migrations if only is None or each.version in only]
        await restore_grants(conn, role, applied_now)
    return applied


def newer_than(migrations: Sequence[Migration], versions: Iterable[str]) -> list[str]:
    """Those of ``versions`` that this release does not have."""
    return sorted(set(versions) - {migration.version for migration in migrations} - set(SQUASHED))


async def _refuse_newer(conn: Connection[Record], migrations: Sequence[Migration]) -> None:
    if newer := newer_than(migrations, [row["version"] for row in await conn.fetch(READ_VERSIONS)]):
        raise MigrationError(
            f"A newer release has migrated this database ({', '.join(newer)}). Run `shiplog migrate` of that release."
        )


@asynccontextmanager
async def _exclusively(conn: Connection[Record]) -> AsyncIterator[None]:
    """A transaction under the lock on migrations. Waiting for that lock has no time limit."""
    async with conn.transaction():
        await conn.execute(LOCK_MIGRATIONS)
        await conn.execute(SET_TIME_LIMITS)
        yield


async def _take_over(conn: Connection[Record]) -> bool:
    """Create the tables that record what was applied. Returns whether the database was migrated before the squash.

    The squashed files create the same schema as the old ones, except for the name of an index. An older release that migrates
    the database afterwards records a file of its own and replaces a function; all functions are then applied again.
    """
    before_squash = await conn.fetchval(BEFORE_SQUASH)
    await conn.execute(CREATE_TABLES)
    if not before_squash:
        if await conn.fetch(FORGET_SQUASHED):
            await conn.execute(FORGET_DIGESTS)
        return False
    versions = [row["version"] for row in await conn.fetch(READ_VERSIONS)]
    if not versions:
        return False
    if versions != SQUASHED:
        raise MigrationError(
            f"This database has the migrations {', '.join(versions)} of an earlier release. It can be taken over when "
            f"it has all of {SQUASHED[0]} to {SQUASHED[-1]}: run `shiplog migrate` of that release first."
        )
    await conn.execute(FORGET_SQUASHED)
    await conn.execute(RENAME_INDEX)
    return True
