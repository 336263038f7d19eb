"""Backup and restore into a second cluster, to the same point and to an older one; and the way over pg_dump."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from asyncpg import Record
from click.testing import CliRunner, Result

from services.backups.archive import ArchiveError, open_archive
from services.cli.commands.migrate import migrate_database
from services.cli.main import shiplog
from services.embedded.binaries import POSTGRES, find_folder, server_account
from services.embedded.postgres import Postgres
from services.resources import open_pool
from services.settings import Settings
from tests.integration.conftest import fresh_database, stage_on
from tests.support.instances import SECRET, copy_cluster, open_path_to
from tests.support.sealed_history import write_history
from tests.support.stage import list_tool

READ_LOG = (
    "SELECT * FROM events ORDER BY shard, position",
    "SELECT * FROM standings ORDER BY shard, kind, actor, tool",
    "SELECT shard, position FROM heads ORDER BY shard",
    "SELECT * FROM users ORDER BY name",
    "SELECT * FROM api_keys ORDER BY id",
    "SELECT * FROM slugs ORDER BY tool",
)
VOTE_ID = "01935000-0000-7000-8000-00000000000{}"


@pytest.fixture(scope="module")
def fresh_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A second server, without the role that Shiplog works under."""
    data = tmp_path_factory.mktemp("fresh")
    open_path_to(data)
    copy_cluster(data)
    server = Postgres.start(data)
    yield server
    server.stop("immediate")


@pytest.fixture
async def empty(fresh_cluster: Postgres) -> AsyncIterator[Settings]:
    """An empty database on the second server, where no role of Shiplog exists."""
    async with fresh_database(fresh_cluster, "template0", "restored") as settings:
        yield settings
    owner = await asyncpg.connect(fresh_cluster.url("postgres"))
    await owner.execute("DROP ROLE IF EXISTS shiplog_app")
    await owner.close()


@pytest.fixture
async def old(settings: Settings) -> Settings:
    """A log with a history, a tool, a program's vote and an editor."""
    async with stage_on(settings) as stage:
        await list_tool(stage.client, stage.catalogue_key)
        await write_history(stage.log, seed=13, casts=200)
        await stage.log.execute("INSERT INTO users (name, role, password) VALUES ('ed', 'editor', 'x')")
        voted = await vote(stage, 1)
        assert voted["outcome"] == "counted"
    return settings


async def vote(stage: object, number: int, choice: str = "ship") -> dict[str, object]:
    cast = {"tool": "quill", "choice": choice, "voter": f"voter {number}", "id": VOTE_ID.format(number)}
    answer = await stage.client.post("/v1/votes", json=cast, headers=dict(stage.vote_key))  # type: ignore[attr-defined]
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def command(settings: Settings, *arguments: str, **environ: str) -> Result:
    """Run in a thread, since commands have an event loop of their own."""
    environment = {"DATABASE_URL": settings.database_url, "SHIPLOG_SECRET": SECRET.decode(), **environ}
    return await asyncio.to_thread(CliRunner().invoke, shiplog, arguments, env=environment)


async def done(settings: Settings, *arguments: str, **environ: str) -> Result:
    result = await command(settings, *arguments, **environ)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def mode_of(file: str) -> int:
    return Path(file).stat().st_mode


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def read_log(settings: Settings) -> list[list[Record]]:
    owner = await asyncpg.connect(settings.database_url)
    rows = [await owner.fetch(statement) for statement in READ_LOG]
    await owner.close()
    return rows


async def test_a_backup_restores_into_a_fresh_cluster(old: Settings, empty: Settings, tmp_path: Path) -> None:
    file = str(tmp_path / "log.backup")
    made = json.loads((await done(old, "backup", file, "--json")).stdout)
    assert made["events"] > 100
    assert mode_of(file) & 0o077 == 0
    restored = json.loads((await done(empty, "restore", file, "--json")).stdout)
    assert restored["heads"] == made["heads"]
    assert await read_log(empty) == await read_log(old)
    await done(empty, "verify")
    async with stage_on(empty) as stage:
        assert (await vote(stage, 1))["outcome"] == "counted"  # the same answer: it is in the log
        again = await read_log(empty)
        assert again[0] == (await read_log(old))[0]
        assert (await vote(stage, 2))["outcome"] == "counted"
    assert await done(empty, "migrate")


async def test_a_restore_to_an_older_point_forgets_what_came_after(old: Settings, tmp_path: Path) -> None:
    file, segments = str(tmp_path / "older.backup"), tmp_path / "segments"
    await done(old, "backup", file)
    before = await read_log(old)
    async with stage_on(old) as stage:
        later = await vote(stage, 3)
        await stage.log.execute("INSERT INTO sessions VALUES ('x', 'ed', now() + interval '1 day')")
        await stage.log.execute("DELETE FROM users WHERE name = 'nobody'")
    await done(old, "seal", "--all", SHIPLOG_SEGMENTS=str(segments))
    refused = await command(old, "restore", file)
    assert "The database is not empty" in str(refused.exception)
    owner = await asyncpg.connect(old.database_url)
    await owner.execute("UPDATE heads SET position = position - 1 WHERE position > 0")
    shorter = await command(old, "seal", SHIPLOG_SEGMENTS=str(segments))
    assert "restored to an older point" in str(shorter.exception)
    await owner.close()
    await done(old, "restore", file, "--replace", SHIPLOG_SEGMENTS=str(segments))
    assert await read_log(old) == before
    assert [name[:10] for name in names_in(segments)] == [".replaced-"]
    await done(old, "verify")
    async with stage_on(old) as stage:
        assert await stage.log.fetchval("SELECT count(*) FROM sessions") == 0
        again = await vote(stage, 3)  # acknowledged after the backup: its sender sends it again
        assert (again["outcome"], again["position"]) == ("counted", later["position"])
    await done(old, "seal", "--all", SHIPLOG_SEGMENTS=str(segments))
    await done(old, "verify", "--sealed", SHIPLOG_SEGMENTS=str(segments))


async def test_an_error_leaves_the_database_as_it_was(old: Settings, tmp_path: Path) -> None:
    file = tmp_path / "log.backup"
    await done(old, "backup", str(file))
    before = await read_log(old)
    async with await open_pool(old):
        running = await command(old, "restore", str(file), "--replace")
    assert "Stop `up`, `serve` and `work` first" in str(running.exception)
    other = await command(old, "restore", str(file), "--replace", SHIPLOG_SECRET="y" * 32)
    assert "SHIPLOG_SECRET is not the one of the backup" in str(other.exception)
    damaged = tmp_path / "damaged.backup"
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    damaged.write_bytes(content)
    for arguments in (["restore", str(damaged), "--check"], ["restore", str(damaged), "--replace"]):
        assert (await command(old, *arguments)).exit_code == 1
    (tmp_path / "cut.backup").write_bytes(file.read_bytes()[:-100])
    assert (await command(old, "restore", str(tmp_path / "cut.backup"), "--check")).exit_code == 1
    assert (await command(old, "restore", str(file), "--check")).exit_code == 0
    assert await read_log(old) == before
    await done(old, "verify")


async def test_a_backup_never_replaces_a_file(old: Settings, tmp_path: Path) -> None:
    file = tmp_path / "log.backup"
    file.write_text("mine")
    refused = await command(old, "backup", str(file))
    assert (refused.exit_code, file.read_text()) == (2, "mine")
    with pytest.raises(ArchiveError, match="not a backup"), open_archive(file):
        pass
    assert names_in(tmp_path) == ["log.backup"]


async def test_a_backup_carries_its_secret_to_a_new_data_folder(old: Settings, tmp_path: Path) -> None:
    with_secret, without = str(tmp_path / "with"), str(tmp_path / "without")
    await done(old, "backup", with_secret)
    await done(old, "backup", without, "--without-secret")
    environ = {"DATABASE_URL": old.database_url, "SHIPLOG_SECRET": None}
    data = tmp_path / "data"
    restore = ["restore", with_secret, "--replace", "--data", str(data)]
    result = await asyncio.to_thread(CliRunner().invoke, shiplog, restore, env=environ)
    assert result.exit_code == 0, (result.output, result.exception)
    assert (data / "secret").read_bytes() == SECRET
    restore = ["restore", without, "--replace", "--data", str(tmp_path / "other")]
    refused = await asyncio.to_thread(CliRunner().invoke, shiplog, restore, env=environ)
    assert "made without its secret" in str(refused.exception)


@asynccontextmanager
async def dumped(settings: Settings, folder: Path) -> AsyncIterator[Path]:
    dump = folder / "log.dump"
    await program("pg_dump", "-Fc", "-f", str(dump), settings.database_url)
    yield dump


async def program(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = str(find_folder(POSTGRES, server_account()) / name)
    return await asyncio.to_thread(subprocess.run, [path, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("options", [[], ["--no-owner", "--no-acl"]], ids=["plain", "no owner"])
async def test_a_dump_restores_into_a_fresh_cluster_after_migrate(
    old: Settings, empty: Settings, tmp_path: Path, options: list[str]
) -> None:
    """The role of the dump does not exist there: what pg_restore could not grant, `shiplog migrate` does."""
    async with dumped(old, tmp_path) as dump:
        restored = await program("pg_restore", *options, "-d", empty.database_url, str(dump))
    assert ("shiplog_app" in restored.stderr) is not options
    assert (await migrate_database(empty)).applied == []
    assert await read_log(empty) == await read_log(old)
    await done(empty, "verify")
    async with stage_on(empty) as stage:
        assert (await vote(stage, 1))["outcome"] == "counted"
        assert (await vote(stage, 2))["outcome"] == "counted"
