"""Migrations: numbered files are applied once, changed functions again, and concurrent runs are safe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from eventstore.migrations import migrate
from services.cli.commands.migrate import migrate_database
from services.embedded.postgres import Postgres
from services.settings import Settings
from tests.integration.conftest import fresh_database

SET_TIME_LIMITS = "current_setting('lock_timeout') || ' ' || current_setting('statement_timeout')"


@pytest.fixture
async def empty(postgres: Postgres) -> AsyncIterator[Settings]:
    async with fresh_database(postgres, "template0", "empty") as settings:
        yield settings


@pytest.fixture
async def conn(empty: Settings) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(empty.database_url)
    yield conn
    await conn.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One table, and a function that reads it."""
    (tmp_path / "functions").mkdir()
    (tmp_path / "0001_first.sql").write_text("-- migrate:up\nCREATE TABLE answers AS SELECT 42 AS answer;\n")
    write_function(tmp_path, "SELECT answer FROM answers")
    return tmp_path


def write_function(folder: Path, body: str, name: str = "answer") -> None:
    text = f"CREATE OR REPLACE FUNCTION {name}() RETURNS integer LANGUAGE sql AS $$ {body} $$;\n"
    (folder / "functions" / f"{name}.sql").write_text(text)


async def test_concurrent_runs_apply_each_file_once(empty: Settings) -> None:
    done = await asyncio.gather(*(migrate_database(empty, 3) for _ in range(4)))
    applied = [name for each in done for name in each.applied]
    assert sorted(applied) == sorted(set(applied))
    assert {"0001 log", "functions/append_casts.sql", "comments.sql"} <= set(applied)
    assert (await migrate_database(empty)).applied == []


async def test_a_function_is_applied_after_the_migrations(conn: asyncpg.Connection, folder: Path) -> None:
    assert await migrate(conn, folder) == ["0001 first", "functions/answer.sql"]
    assert await conn.fetchval("SELECT answer()") == 42


async def test_functions_are_applied_in_the_order_of_their_names(
    conn: asyncpg.Connection, folder: Path
) -> None:
    write_function(folder, "SELECT answer() + 1", "bigger_answer")
    assert (await migrate(conn, folder))[1:] == ["functions/answer.sql", "functions/bigger_answer.sql"]
    assert await conn.fetchval("SELECT bigger_answer()") == 43


async def test_a_function_is_applied_again_when_its_file_changes(
    conn: asyncpg.Connection, folder: Path
) -> None:
    await migrate(conn, folder)
    assert await migrate(conn, folder) == []
    write_function(folder, "SELECT answer + 1 FROM answers")
    assert await migrate(conn, folder) == ["functions/answer.sql"]
    assert await conn.fetchval("SELECT answer()") == 43


async def test_a_function_that_fails_leaves_the_previous_one(conn: asyncpg.Connection, folder: Path) -> None:
    await migrate(conn, folder)
    write_function(folder, "SELECT nothing FROM answers")
    for _ in range(2):
        with pytest.raises(asyncpg.UndefinedColumnError):
            await migrate(conn, folder)
    assert await conn.fetchval("SELECT answer()") == 42


async def test_comments_are_applied_last_and_again_when_they_change(
    conn: asyncpg.Connection, folder: Path
) -> None:
    for comment in ("first", "second"):
        (folder / "comments.sql").write_text(f"COMMENT ON FUNCTION answer IS '{comment}';\n")
        assert (await migrate(conn, folder))[-1] == "comments.sql"
        assert await conn.fetchval("SELECT obj_description('answer'::regproc)") == comment


async def test_migrations_run_with_lock_and_statement_timeouts(
    conn: asyncpg.Connection, folder: Path
) -> None:
    """Queries that arrive after a migration wait behind the lock it waits for."""
    (folder / "0002_limits.sql").write_text(
        f"-- migrate:up\nCREATE TABLE limits AS SELECT {SET_TIME_LIMITS} AS of_migration;\n"
    )
    (folder / "functions" / "limits.sql").write_text(
        f"ALTER TABLE limits ADD of_function text DEFAULT {SET_TIME_LIMITS};\n"
    )
    await migrate(conn, folder)
    assert list(await conn.fetchrow("SELECT * FROM limits")) == ["5s 10min", "5s 10min"]
