"""What must hold before a process uses Postgres: reachable, a role of its own, grants, durable, migrated, no pooler."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from eventstore.migrations import MigrationError
from eventstore.roles import RoleError
from services.cli.commands.migrate import migrate_database
from services.database import DatabaseUnusable, NotDurable, check_durable, explain, wait_for_database
from services.embedded.postgres import Postgres
from services.resources import open_pool
from services.settings import Settings
from tests.integration.conftest import fresh_database
from tests.support.instances import COMMAND, SECRET, free_port, wait_until

ENVIRONMENT = {"SHIPLOG_SECRET": SECRET.decode()}
CREATE_OWNERS = "CREATE ROLE ann LOGIN PASSWORD 'a' CREATEROLE; CREATE ROLE bob LOGIN PASSWORD 'b' CREATEROLE"


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *command],
        env={**os.environ, **ENVIRONMENT, **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    [*_, line] = done.stderr.strip().splitlines()
    return line


@pytest.fixture(scope="module")
async def cluster(postgres: Postgres) -> AsyncIterator[Postgres]:
    """Two owners who are no superusers, each with a database."""
    admin = await asyncpg.connect(postgres.url("postgres"))
    await admin.execute(CREATE_OWNERS)
    for owner in ("ann", "bob"):
        await admin.execute(f"CREATE DATABASE of_{owner} OWNER {owner}")
    yield postgres
    for owner in ("ann", "bob"):
        await admin.execute(f"DROP DATABASE of_{owner} WITH (FORCE)")
    await admin.execute("DROP ROLE IF EXISTS shiplog_app_of_ann, shiplog_app_of_bob")
    await admin.execute("DROP ROLE ann; DROP ROLE bob")
    await admin.close()


async def test_two_owners_have_installations_on_one_server(cluster: Postgres, template: str) -> None:
    """shiplog_app belongs to the installation of the superuser, so each gets a role named after its database."""
    roles = {}
    for owner, password in (("ann", "a"), ("bob", "b")):
        settings = Settings(database_url=cluster.url(f"of_{owner}", owner, password), secret=SECRET)
        await migrate_database(settings)
        assert (await migrate_database(settings)).applied == []
        async with await open_pool(settings) as pool:
            roles[owner] = await pool.fetchval("SELECT current_user")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await pool.execute("DELETE FROM events")
    assert roles == {"ann": "shiplog_app_of_ann", "bob": "shiplog_app_of_bob"}


async def test_an_owner_who_may_not_create_roles_is_told_what_to_run(
    cluster: Postgres, template: str
) -> None:
    admin = await asyncpg.connect(cluster.url("postgres"))
    await admin.execute("CREATE ROLE cy LOGIN PASSWORD 'c'")
    await admin.execute("CREATE DATABASE of_cy OWNER cy")
    settings = Settings(database_url=cluster.url("of_cy", "cy", "c"), secret=SECRET)
    with pytest.raises(RoleError, match="As an administrator, run") as refused:
        await migrate_database(settings)
    advice = str(refused.value).split("run ")[1].split(" and try")[0]
    await admin.execute(advice)
    assert (await migrate_database(settings)).applied
    await admin.execute("DROP DATABASE of_cy WITH (FORCE)")
    await admin.execute("DROP ROLE shiplog_app_of_cy; DROP ROLE cy")
    await admin.close()


@pytest.mark.parametrize(
    "loss",
    [
        "REVOKE ALL ON events, heads, standings FROM shiplog_app",
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM shiplog_app; ALTER SCHEMA read_models OWNER TO CURRENT_USER",
        "REASSIGN OWNED BY shiplog_app TO CURRENT_USER; DROP OWNED BY shiplog_app",
    ],
)
async def test_migrate_makes_lost_roles_and_grants_whole_again(
    postgres: Postgres, template: str, loss: str
) -> None:
    async with fresh_database(postgres, template, "lost") as settings:
        owner = await asyncpg.connect(settings.database_url)
        await owner.execute(loss)
        await owner.close()
        with pytest.raises(DatabaseUnusable, match="run `shiplog migrate`"):
            await open_pool(settings)
        assert (await migrate_database(settings)).applied == []
        async with await open_pool(settings) as pool:
            assert await pool.fetchval("SELECT current_user") == "shiplog_app"
            await pool.execute("SELECT * FROM read_models.tally")


async def test_a_database_that_is_not_migrated_or_of_a_newer_release_is_named(
    postgres: Postgres, template: str
) -> None:
    async with fresh_database(postgres, "template0", "bare") as settings:
        with pytest.raises(DatabaseUnusable, match="not migrated"):
            await open_pool(settings)
    async with fresh_database(postgres, template, "newer") as settings:
        owner = await asyncpg.connect(settings.database_url)
        await owner.execute("INSERT INTO schema_migrations (version) VALUES ('9999')")
        with pytest.raises(MigrationError, match=r"newer release has migrated this database \(9999\)"):
            await migrate_database(settings)
        await owner.execute("DELETE FROM schema_migrations WHERE version IN ('9999', '0005')")
        await owner.close()
        with pytest.raises(DatabaseUnusable, match="lacks the migration"):
            await open_pool(settings)


async def test_a_setting_that_could_lose_votes_is_accepted_by_name_only(settings: Settings) -> None:
    owner = await asyncpg.connect(settings.database_url)
    database = await owner.fetchval("SELECT current_database()")
    await owner.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    await owner.close()
    with pytest.raises(NotDurable, match="SHIPLOG_ACCEPT_UNSAFE_DURABILITY=synchronous_commit"):
        await open_pool(settings)
    accepting = replace(settings, accept_unsafe_durability=frozenset({"synchronous_commit"}))
    await (await open_pool(accepting)).close()
    with pytest.raises(NotDurable, match="fsync"):
        check_durable(["fsync"], frozenset({"synchronous_commit"}))


@pytest.mark.parametrize(
    ("user", "password", "database", "line"),
    [
        (None, "wrong", "shiplog", "refused to log in"),
        ("nobody", "x", "shiplog", "refused to log in"),
        (None, None, "no_such", 'database "no_such" does not exist'),
        (None, None, "template1", "not migrated"),
    ],
)
async def test_a_wrong_database_is_one_line(
    postgres: Postgres, user: str | None, password: str | None, database: str, line: str
) -> None:
    url = postgres.url(database, user, password)
    with pytest.raises(DatabaseUnusable, match=line) as refused:
        await open_pool(Settings(database_url=url, secret=SECRET))
    assert "\n" not in str(refused.value)
    assert "wrong" not in str(refused.value).replace("wrong password", "")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (asyncpg.TooManyConnectionsError("sorry, too many clients already"), "SHIPLOG_POOL_SIZE"),
        (asyncpg.CannotConnectNowError("the database system is starting up"), "starting"),
        (
            asyncpg.InvalidAuthorizationSpecificationError("no pg_hba.conf entry for host, no encryption"),
            "sslmode=require",
        ),
        (ConnectionError('PostgreSQL server at "h:1" rejected SSL upgrade'), "Change sslmode"),
        (asyncpg.ProtocolViolationError("unsupported startup parameter: role"), "Connect directly"),
        (TimeoutError(), "did not answer"),
        (socket.gaierror(-2, "Name or service not known"), "%40"),
    ],
)
def test_each_failure_to_connect_says_what_to_do(error: Exception, line: str) -> None:
    explained = str(explain(error, "postgresql://u:hunter2@h:1/x"))
    assert line in explained
    assert "hunter2" not in explained
    assert "\n" not in explained


@pytest.mark.parametrize("command", ["status", "migrate", "verify", "work", "serve"])
def test_every_command_reports_a_wrong_url_in_one_line(command: str) -> None:
    assert "DATABASE_URL is not a URL" in one_line(run(command, DATABASE_URL="notaurl"))


async def test_serve_reports_a_database_that_is_not_migrated_in_one_line(postgres: Postgres) -> None:
    async with fresh_database(postgres, "template0", "unmigrated") as settings:
        port = str(free_port())
        done = await asyncio.to_thread(run, "serve", "--port", port, DATABASE_URL=settings.database_url)
        assert "The database is not migrated. Run `shiplog migrate`." in one_line(done)
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_database_that_does_not_come_is_waited_for_and_then_named_in_one_line() -> None:
    gone, lines = f"postgresql://u:hunter2@127.0.0.1:{free_port()}/x", list[str]()
    with pytest.raises(DatabaseUnusable, match="cannot be reached") as ended:
        wait_for_database(Settings(database_url=gone, secret=SECRET), lines.append, 0.2)
    assert len(lines) == 1
    assert "Waiting for it" in lines[0]
    assert "hunter2" not in lines[0] + str(ended.value)


def test_a_database_that_starts_later_is_waited_for_and_a_wrong_one_is_not(
    postgres: Postgres, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, lines = Settings(database_url=postgres.url(template), secret=SECRET), list[str]()
    connect, refused = asyncpg.connect, [OSError("refused"), asyncpg.CannotConnectNowError("starting up")]

    async def connect_later(*arguments: object, **named: object) -> object:
        if refused:
            raise refused.pop()
        return await connect(*arguments, **named)

    monkeypatch.setattr(asyncpg, "connect", connect_later)
    wait_for_database(settings, lines.append)
    assert len(lines) == 1
    with pytest.raises(DatabaseUnusable, match="refused to log in"):
        wait_for_database(Settings(database_url=postgres.url(password="no"), secret=SECRET), lines.append, 60)
    assert len(lines) == 1


@pytest.fixture
def pgbouncer(postgres: Postgres, tmp_path: Path) -> Iterator[int]:
    """A pooler in transaction mode before the server. Returns its port."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        assert not os.environ.get("CI"), "CI installs pgbouncer: see .ci/run"
        pytest.skip("pgbouncer is not installed: apt-get install pgbouncer")
    port = free_port()
    config = tmp_path / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n* = host=127.0.0.1 port={postgres.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nauth_type = any\npool_mode = transaction\nunix_socket_dir =\nlogfile = {tmp_path}/log\n"
    )
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    for each in (tmp_path, *tmp_path.parents):
        if each.stat().st_uid == os.geteuid():
            each.chmod(each.stat().st_mode | 0o011)
    tmp_path.chmod(0o777)
    process = subprocess.Popen([program, *user, str(config)], stdout=sys.stderr)
    wait_until(lambda: process.poll() is not None or _listens(port))
    yield port
    process.terminate()
    process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_a_pooler_is_refused_in_one_line(postgres: Postgres, template: str, pgbouncer: int) -> None:
    through = postgres.url(template).replace(f":{postgres.port}/", f":{pgbouncer}/")
    for use in (open_pool, migrate_database):
        with pytest.raises(DatabaseUnusable, match="Connect directly to PostgreSQL"):
            await use(Settings(database_url=through, secret=SECRET))
