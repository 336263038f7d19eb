"""Migrations: numbered plain .sql files in dbmate's format, applied once each, in order, one at a time."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from asyncpg import Connection, Record
from msgspec import Struct

FOLDER = Path(__file__).resolve().parent.parent / "migrations"

LOCK = "SELECT pg_advisory_xact_lock(hashtext('shiplog migrations'))"
CREATE_TABLE = "CREATE TABLE IF NOT EXISTS schema_migrations (version varchar PRIMARY KEY)"
APPLIED = "SELECT version FROM schema_migrations"
RECORD = "INSERT INTO schema_migrations (version) VALUES ($1)"
LIMITS = "SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '10min'"


class Migration(Struct, frozen=True):
    version: str
    name: str
    up: str


class MigrationError(Exception):
    """A migration file cannot be used, or failed; nothing of it was kept."""


def read_migrations(folder: Path = FOLDER) -> list[Migration]:
    """In order of version. Raises MigrationError for a file not named NNNN_name.sql or without migrate:up."""
    found = [_read(path) for path in sorted(folder.glob("*.sql"))]
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


async def migrate(conn: Connection[Record], folder: Path = FOLDER) -> list[Migration]:
    """Apply what is missing, each in a transaction of its own; returns what was applied."""
    applied = []
    for migration in read_migrations(folder):
        async with conn.transaction():
            await conn.execute(LOCK)
            await conn.execute(LIMITS)
            await conn.execute(CREATE_TABLE)
            if migration.version not in {row["version"] for row in await conn.fetch(APPLIED)}:
                await conn.execute(migration.up)
                await conn.execute(RECORD, migration.version)
                applied.append(migration)
    return applied


async def missing(conn: Connection[Record], folder: Path = FOLDER) -> list[Migration]:
    """What ``migrate`` would apply."""
    if await conn.fetchval("SELECT to_regclass('schema_migrations') IS NULL"):
        return read_migrations(folder)
    done = {row["version"] for row in await conn.fetch(APPLIED)}
    return [migration for migration in read_migrations(folder) if migration.version not in done]
