"""PostgreSQL 15, the oldest supported: migrate, vote, adopt, flips, replay, verify, seal, and backups to and from 18."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from click.testing import CliRunner

from projections.flips.advance import advance_flips
from services.cli.main import shiplog
from services.embedded.postgres import Postgres
from services.resources import open_pool
from services.settings import Settings
from tests.integration.conftest import fresh_database, stage_on
from tests.support.instances import SECRET, create_template
from tests.support.oldest_postgres import oldest_postgres
from tests.support.sealed_history import write_history
from tests.support.stage import list_tool, seat_panel

SHARDS = 3
READ_EVENTS = "SELECT shard, position, type, tool, choice, replaced FROM events ORDER BY shard, position"
READ_FLIPS = "SELECT tool, before, after, cause_shard, cause_position FROM read_models.flips ORDER BY 4, 5, 1"


@pytest.fixture(scope="module")
def oldest() -> Iterator[Postgres]:
    with oldest_postgres() as server:
        yield server


@pytest.fixture
async def log(oldest: Postgres) -> AsyncIterator[Settings]:
    await create_template(oldest, "template_oldest", SHARDS)
    async with fresh_database(oldest, "template_oldest", "oldest") as settings:
        yield settings


async def run(settings: Settings, *arguments: str, **environ: str) -> None:
    environment = {"DATABASE_URL": settings.database_url, "SHIPLOG_SECRET": SECRET.decode(), **environ}
    done = await asyncio.to_thread(CliRunner().invoke, shiplog, arguments, env=environment)
    assert done.exit_code == 0, (arguments, done.output, done.exception)


async def read(settings: Settings, statement: str) -> list[asyncpg.Record]:
    conn = await asyncpg.connect(settings.database_url)
    rows = await conn.fetch(statement)
    await conn.close()
    return rows


async def vote_and_adopt(settings: Settings) -> None:
    """Votes on a tool, alone and in bulk, under the default rulebook and under one that weighs votes."""
    async with stage_on(settings) as stage:
        await list_tool(stage.client, stage.catalogue_key)
        await seat_panel(stage.log, "builder")
        for choice in ("ship", "skip", "skip"):
            cast = {"tool": "quill", "choice": choice}
            assert (await stage.client.post("/v1/votes", json=cast)).status_code == 200
    await run(settings, "adopt", "lower-bound", "--reason", "test")
    async with stage_on(settings) as stage:
        lines = "".join(
            f'{{"tool":"quill","choice":"ship","voter":"voter {number}"}}\n' for number in range(60)
        )
        headers = {**stage.vote_key, "Content-Type": "application/x-ndjson"}
        bulk = await stage.client.post("/v1/votes/bulk", content=lines, headers=headers)
        assert bulk.json()["counted"] == 60, bulk.text
        await write_history(stage.log, seed=15, casts=200)


async def find_flips(settings: Settings) -> None:
    async with await open_pool(settings) as pool:
        while await advance_flips(pool):
            pass


async def test_everything_works_on_the_oldest_postgres(
    log: Settings, postgres: Postgres, oldest: Postgres, tmp_path: Path
) -> None:
    await vote_and_adopt(log)
    await find_flips(log)
    flips = await read(log, READ_FLIPS)
    assert flips
    for replayed in ("tally", "hourly_tally"):
        await run(log, "replay", replayed)
    await run(log, "verify")
    segments = {"SHIPLOG_SEGMENTS": str(tmp_path / "segments")}
    await run(log, "seal", "--all", **segments)
    await run(log, "verify", "--sealed", **segments)
    await run(log, "doctor")

    await run(log, "backup", str(tmp_path / "from_15"))
    async with fresh_database(postgres, "template0", "newer") as newer:
        await run(newer, "restore", str(tmp_path / "from_15"))
        await run(newer, "verify")
        assert await read(newer, READ_EVENTS) == await read(log, READ_EVENTS)
        assert await read(newer, READ_FLIPS) == flips
        await run(newer, "backup", str(tmp_path / "from_18"))
    async with fresh_database(oldest, "template0", "again") as again:
        await run(again, "restore", str(tmp_path / "from_18"))
        await run(again, "verify")
        assert await read(again, READ_FLIPS) == flips
