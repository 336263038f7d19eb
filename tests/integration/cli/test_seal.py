"""The commands `seal`, `segments` and `verify --sealed`, as scripts and health checks use them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from services.cli.main import shiplog as shiplog_group
from services.settings import Settings
from services.workers.jobs import seal_due
from services.workers.run import _context, _repeat
from tests.integration.projections.test_advance import SHARD, cast_votes
from tests.integration.services.test_wakeups_and_worker import until
from tests.support.stage import Log

Command: TypeAlias = Callable[..., Awaitable[tuple[int, str, str]]]
SEGMENTS_OF_TEN = {"SHIPLOG_SEGMENT": "10", "SHIPLOG_SEAL_BEHIND": "5"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "it's sealed"


@pytest.fixture
def shiplog(settings: Settings, folder: Path) -> Command:
    """Exit status, output and errors of a command on the test's log, with segments of ten events."""
    environment: dict[str, str | None] = {
        "REDIS_URL": None,
        "DATABASE_URL": settings.database_url,
        "SHIPLOG_SECRET": settings.secret.decode(),
        "SHIPLOG_SEGMENTS": str(folder),
        **SEGMENTS_OF_TEN,
    }

    async def run(*arguments: str, **more: str) -> tuple[int, str, str]:
        done = await asyncio.to_thread(CliRunner().invoke, shiplog_group, arguments, env=environment | more)
        return done.exit_code, done.stdout, done.stderr

    return run


async def test_due_history_is_sealed_listed_and_verified(pool: Log, shiplog: Command) -> None:
    await cast_votes(pool, 28)
    status, out, _ = await shiplog("seal", "--json")
    sealed: Any = json.loads(out)
    assert (status, sealed["positions"]) == (0, 20)
    assert sealed["segments"][1] == {"shard": 1, "first": 11, "last": 20}
    status, out, err = await shiplog("seal", "--all")
    assert (status, out[:26]) == (0, "1 segment with 8 events in"), err
    assert "8 of 8 events" in err
    assert (await shiplog("seal"))[1] == "Nothing is due.\n"
    status, out, _ = await shiplog("segments")
    assert (status, len(out.splitlines()), out.split()[0]) == (0, 3, "1/000000000001-000000000010")
    status, out, _ = await shiplog("verify", "--sealed", "--json")
    report = json.loads(out)
    assert (status, report["equal"]) == (0, True)
    assert report["read_models"][0]["position"] == "1.28"


async def test_a_damaged_segment_is_named_and_sets_the_exit_status(
    pool: Log, shiplog: Command, folder: Path
) -> None:
    await cast_votes(pool, 25)
    await shiplog("seal")
    path = folder / "1" / "000000000001-000000000010.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    status, out, _ = await shiplog("segments", "--json", DATABASE_URL="")
    found = json.loads(out)
    assert (status, found["sound"], len(found["segments"])) == (1, False, 1)
    assert str(path) in found["damaged"][0]
    assert str(path) in (await shiplog("segments"))[2]
    status, out, _ = await shiplog("verify", "--sealed")
    assert status == 1
    assert path.name in out


async def test_verify_finds_a_changed_log(settings: Settings, pool: Log, shiplog: Command) -> None:
    await cast_votes(pool, 25)
    await shiplog("seal")
    owner = await asyncpg.connect(settings.database_url)
    await owner.execute("UPDATE events SET tool = 99 WHERE shard = 1 AND position = 20")
    await owner.close()
    status, out, _ = await shiplog("verify", "--sealed")
    assert status == 1
    assert "says log, shard 1, tool 99, ship 1, skip 0" in out


@pytest.mark.parametrize("arguments", [("seal",), ("verify", "--sealed")])
async def test_the_error_without_a_folder_says_what_to_set(
    settings: Settings, arguments: tuple[str, ...]
) -> None:
    done = await run_process(settings, *arguments)
    assert done.returncode == 2
    assert "SHIPLOG_SEGMENTS is not set" in done.stderr


async def test_the_error_without_duckdb_says_what_to_install(
    settings: Settings, pool: Log, tmp_path: Path, folder: Path
) -> None:
    await cast_votes(pool, 25)
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['duckdb'] = None\n")
    done = await run_process(
        settings, "seal", PYTHONPATH=str(tmp_path), SHIPLOG_SEGMENTS=str(folder), **SEGMENTS_OF_TEN
    )
    assert done.returncode == 2
    assert "pip install 'shiplog-server[segments]'" in done.stderr


async def run_process(settings: Settings, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in its own process, where main() turns errors into one line and an exit status."""
    environment = os.environ | {
        "DATABASE_URL": settings.database_url,
        "SHIPLOG_SECRET": settings.secret.decode(),
        "SHIPLOG_SEGMENTS": "",
    }
    command = [sys.executable, "-m", "services.cli", *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, env=environment | more, capture_output=True, text=True, timeout=60
    )


async def test_a_worker_seals_without_redis(settings: Settings, pool: Log, folder: Path) -> None:
    await cast_votes(pool, 25)
    sealing = replace(settings, segments=folder, segment=10, seal_behind=5)
    async with _context(sealing) as ctx:
        loop = asyncio.create_task(_repeat(seal_due, ctx, 0.05))
        sealing_context = ctx.get("sealing")
        assert sealing_context is not None

        async def sealed() -> bool:
            return sealing_context.store.last_position(SHARD) == 20

        await until(sealed)
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
