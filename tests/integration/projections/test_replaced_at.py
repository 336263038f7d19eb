"""Events written before they said when what they replace was recorded are told it by the migration."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from random import Random
from uuid import UUID

import asyncpg
import pytest
from asyncpg import Record

from domain.shared.log import Shard
from eventstore.casts import PendingCast, append_casts
from eventstore.heads import create_heads, extend_events
from eventstore.ids import mint
from eventstore.migrations import FOLDER, migrate
from projections.engine.install import install
from projections.engine.registry import PROJECTIONS
from services.embedded.postgres import Postgres
from services.resources import open_pool
from services.settings import Settings
from tests.support.sealed_history import write_history
from tests.support.stage import Log

SEED = 20261126
BEFORE = "0011"
EVENTS = """
SELECT shard, position, actor, tool, type, choice, replaced, recorded_at, replaced_at FROM events
 ORDER BY shard, position
"""


def folder_before(path: Path) -> Path:
    for file in FOLDER.glob("*.sql"):
        if file.name < BEFORE:
            shutil.copy(file, path)
    return path


@pytest.fixture
async def old(postgres: Postgres, tmp_path: Path) -> AsyncIterator[Settings]:
    """A database of the version before."""
    owner = await asyncpg.connect(postgres.url("postgres"))
    await owner.execute("CREATE DATABASE old_log")
    settings = Settings(database_url=postgres.url("old_log"), secret=b"a secret of thirty-two characters")
    conn = await asyncpg.connect(settings.database_url, server_settings={"TimeZone": "UTC"})
    await migrate(conn, folder_before(tmp_path))
    await create_heads(conn, 3)
    await extend_events(conn)
    yield settings
    await conn.close()
    await owner.execute("DROP DATABASE old_log WITH (FORCE)")
    await owner.close()


async def upgrade(settings: Settings) -> None:
    conn = await asyncpg.connect(settings.database_url, server_settings={"TimeZone": "UTC"})
    await migrate(conn)
    await install(conn, PROJECTIONS)
    await conn.close()


async def test_old_events_are_told_when_what_they_replace_was_recorded(old: Settings) -> None:
    """And the next event of a ballot goes on from there."""
    async with await open_pool(old) as log:
        await write_history(log, SEED, casts=900)
        await upgrade(old)
    async with await open_pool(old) as log:
        rows = await log.fetch(EVENTS)
        assert sum(row["replaced_at"] is not None for row in rows) > 50
        await vote_again(log, rows)
        after = await log.fetch(EVENTS)
        assert len(after) > len(rows) + 20
        assert [row["replaced_at"] for row in after] == expected(after)


async def vote_again(log: Log, rows: list[Record]) -> None:
    random = Random(SEED)
    for shard in (1, 2, 3):
        ballots: set[tuple[UUID, int]] = {
            (row["actor"], row["tool"]) for row in rows if row["shard"] == shard
        }
        casts = [
            PendingCast("v", actor, tool, random.choice(["ship", "skip", None]), mint(), "test")
            for actor, tool in sorted(ballots)
        ]
        async with log.acquire() as conn:
            await append_casts(conn, Shard(shard), casts)


def expected(rows: list[Record]) -> list[datetime | None]:
    """The time of the event before on the same ballot or bookmark, of which the log is the only record."""
    last: dict[tuple[int, UUID, int, str], datetime] = {}
    times: list[datetime | None] = []
    for row in rows:
        key = (
            row["shard"],
            row["actor"],
            row["tool"],
            "vote" if row["type"].startswith("Vote") else "bookmark",
        )
        times.append(last[key] if row["replaced"] and row["shard"] else None)
        last[key] = row["recorded_at"]
    return times
