"""Databases and whole instances for tests, and waiting for conditions."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from itertools import count
from pathlib import Path
from typing import TypeVar

import asyncpg

from services.cli.commands.migrate import migrate_database
from services.embedded.postgres import Postgres
from services.settings import Settings

T = TypeVar("T")
SECRET = b"a secret of thirty-two characters"
# For tests that send many votes from one address.
UNLIMITED = {"limit_visitor": 0, "limit_address": 0, "limit_login": 0}
# Test receivers of webhooks listen on loopback.
OWN_NETWORKS = {"SHIPLOG_WEBHOOK_NETWORKS": "127.0.0.0/8"}
COMMAND = [sys.executable, "-m", "services.cli"]


@dataclass(frozen=True)
class Instance:
    """A running `shiplog up`: the URL of its first API process, its data folder, and the lines up to its ready line."""

    url: str
    data: Path
    process: subprocess.Popen[str]
    printed: tuple[str, ...] = ()

    def command(self, *arguments: str) -> str:
        """Run a `shiplog` command on this instance. Returns its standard output."""
        done = subprocess.run(
            [*COMMAND, *arguments, "--data", str(self.data)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    def create_key(self, *scopes: str) -> str:
        named = [word for scope in scopes for word in ("--scope", scope)]
        return str(json.loads(self.command("keys", "create", "test", *named, "--json"))["key"])


def copy_cluster(data: Path) -> None:
    """Give an empty data folder a PostgreSQL cluster. Copying one takes a tenth of the time of creating it."""
    data.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", f"{_cluster().name}/data/.", str(data)], check=True)


@cache
def _cluster() -> tempfile.TemporaryDirectory[str]:
    """The cluster to copy from. Each test process creates its own on first use."""
    folder = tempfile.TemporaryDirectory(prefix="cluster-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT"))
    open_path_to(Path(folder.name))
    Postgres.start(Path(folder.name) / "data").stop()
    return folder


def open_path_to(folder: Path) -> None:
    """Let every user enter ``folder``: initdb of PostgreSQL 15, run as nobody, needs an absolute path.

    pytest closes its folder again when another run starts, under the feet of servers in it. Those of release 18 need no path.
    """
    if "SHIPLOG_POSTGRES_BIN" not in os.environ:
        return
    for each in (folder, *folder.parents):
        if each.stat().st_uid == os.geteuid() and each.parent != each:
            each.chmod(each.stat().st_mode | 0o011)


def reach_loopback_directly() -> None:
    """A proxy of the environment is for the registries of packages, not for the servers of tests and benchmarks."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost,::1")))


def remove_cluster() -> None:
    """Remove the cluster to copy from, if this process has created one."""
    if _cluster.cache_info().currsize:
        _cluster().cleanup()


# PostgreSQL 18 has it. Tests call it to cast votes in SQL.
CREATE_UUIDV7 = """
CREATE FUNCTION uuidv7() RETURNS uuid LANGUAGE sql AS $$
    SELECT CAST(overlay(overlay(replace(gen_random_uuid()::text, '-', '') PLACING
                lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') FROM 1 FOR 12)
                PLACING '7' FROM 13 FOR 1) AS uuid) $$
"""


async def create_template(postgres: Postgres, name: str, shards: int) -> None:
    """A migrated database to copy."""
    owner = await asyncpg.connect(postgres.url("postgres"))
    await owner.execute(f"CREATE DATABASE {name}")
    await owner.close()
    await migrate_database(Settings(database_url=postgres.url(name), secret=SECRET), shards=shards)
    conn = await asyncpg.connect(postgres.url(name))
    if conn.get_server_version().major < 18:
        await conn.execute(CREATE_UUIDV7)
    await conn.close()


_numbers = count(1)


@asynccontextmanager
async def fresh_database(postgres: Postgres, template: str, purpose: str = "test") -> AsyncIterator[Settings]:
    """A new, empty log, a copy of ``template``, until the block ends."""
    name = f"{purpose}_{next(_numbers)}"
    owner = await asyncpg.connect(postgres.url("postgres"))
    await owner.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield Settings(database_url=postgres.url(name), secret=SECRET, **UNLIMITED)
    await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await owner.close()


@contextmanager
def start_instance(
    data: Path,
    *arguments: str,
    port: int | None = None,
    creates_cluster: bool = False,
    database_url: str | None = None,
) -> Iterator[Instance]:
    """Run `shiplog up` until the block ends, and end it with SIGTERM.

    A new instance gets a copied cluster, unless the command is to create it, or it uses the one at ``database_url``.
    """
    port = port or free_port()
    if not creates_cluster and not data.exists():
        copy_cluster(data)
    command = [*COMMAND, "up", "--data", str(data), "--port", str(port), *arguments]
    data.mkdir(parents=True, exist_ok=True)
    open_path_to(data)
    log = (data / "up.log").open("a")
    environ = _environment() | ({"DATABASE_URL": database_url} if database_url else {})
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environ)
    try:
        printed = _wait_for_ready_line(process, data / "up.log")
        # A pipe that nobody reads fills up, and then its writer blocks.
        threading.Thread(target=process.stdout.read, daemon=True).start()  # type: ignore[union-attr]
        yield Instance(f"http://127.0.0.1:{port}", data, process, printed)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _environment() -> dict[str, str]:
    """The current environment without variables that name databases."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")
    }
    return (
        {f"SHIPLOG_{name.upper()}": str(quota) for name, quota in UNLIMITED.items()}
        | OWN_NETWORKS
        | inherited
    )


def _wait_for_ready_line(process: subprocess.Popen[str], log: Path) -> tuple[str, ...]:
    """The lines printed up to the ready line."""
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line.rstrip("\n"))
        if line.startswith("ready "):
            return tuple(printed)
    raise AssertionError(f"shiplog up ended before it was ready:\n{log.read_text()[-4000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], T], seconds: float = 20.0) -> T:
    """Poll until the condition holds. Returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not true within {seconds} s: {condition}"
        time.sleep(0.01)
    return value


def day_of(moment: datetime) -> int:
    """The day of a time in UTC, as days since 1970-01-01."""
    return (moment.date() - date(1970, 1, 1)).days
