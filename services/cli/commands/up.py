"""`shiplog up`: databases, migrations, API, workers and the sample catalogue on one machine, in one command."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

import rich_click as click
from asyncpg import Pool, Record
from msgspec import Struct
from rich.console import Console
from rich.panel import Panel

from domain.shared.log import EDITORIAL
from eventstore.heads import read_heads
from projections.engine.advance import advance
from projections.engine.registry import PROJECTIONS
from services.auth.accounts import NewUser, create_user, read_users
from services.cli.commands.migrate import DEFAULT_SHARDS, migrate_database
from services.cli.commands.sample import load_sample
from services.cli.instance import DEFAULT_DATA, data_option, environment
from services.embedded import supervisor
from services.embedded.binaries import ServerError
from services.embedded.postgres import Postgres
from services.embedded.valkey import Valkey
from services.resources import open_pool
from services.settings import Settings, from_environment

_EDITOR = "editor"
_FIRST_STEPS = "log in, seat reviewers, list two tools, publish takes"
_READY_TIMEOUT_SECONDS = 60
_WATCH_SECONDS = 0.5
err = Console(stderr=True)


@click.command()
@data_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option(
    "--api",
    "apis",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="Number of API processes. Each listens on the port after the one before.",
)
@click.option("--workers", type=click.IntRange(1, 16), default=1, show_default=True)
@click.option(
    "--shards",
    type=click.IntRange(1, 256),
    default=DEFAULT_SHARDS,
    show_default=True,
    help="Voter shards of a new log.",
)
@click.option(
    "--sample/--no-sample",
    " /--empty",
    default=True,
    help="Fill an empty catalogue with sample tools, or leave it empty for a start of your own.",
)
def up(data: Path, host: str, port: int, apis: int, workers: int, shards: int, sample: bool) -> None:
    """Run databases, migrations, API, workers and the sample catalogue until Ctrl-C."""
    given, data = data, data.resolve()
    with Databases(data) as databases:
        environ = environment(data, databases.database_url, databases.redis_url)
        greeting = asyncio.run(_prepare(from_environment(environ), given, shards, sample))
        ports = range(port, port + apis)
        children = [
            *(_child(f"api:{each}", environ, "serve", "--host", host, "--port", str(each)) for each in ports),
            *(_child(f"worker:{each}", environ, "work") for each in range(1, workers + 1)),
        ]
        asyncio.run(_run(databases, children, [f"http://{host}:{each}" for each in ports], greeting))


class Greeting(Struct, frozen=True):
    """What a person needs to begin.

    ``new`` is the first editor, if this run has made it; ``password_command`` gives an editor a new password; ``empty``
    is a log without any catalogue.
    """

    new: NewUser | None
    password_command: str
    empty: bool


class Databases:
    """Postgres and Valkey: those of the environment, or embedded ones, which stop with the block and are restarted."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._postgres: Postgres | None = None
        self._valkey: Valkey | None = None
        self.database_url = os.environ.get("DATABASE_URL", "")
        self.redis_url = os.environ.get("REDIS_URL")

    def __enter__(self) -> Self:
        self._data.mkdir(parents=True, exist_ok=True)
        try:
            if not self.database_url:
                self._postgres = Postgres.attach(self._data) or Postgres.start(self._data)
                self.database_url = self._postgres.url()
            if not self.redis_url:
                self._valkey = Valkey.attach(self._data) or Valkey.start(self._data)
                self.redis_url = self._valkey.url()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self._valkey, self._postgres):
            if server is not None:
                server.stop()

    async def watch(self) -> None:
        """Restart an embedded server that has ended, on the same port, unless another process has done so."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            await asyncio.to_thread(self._restart)

    def _restart(self) -> None:
        try:
            if self._postgres and not self._postgres.running():
                err.print("[yellow]Postgres ended; restarting it[/]")
                port = self._postgres.port
                self._postgres = Postgres.attach(self._data) or Postgres.start(self._data, port=port)
            if self._valkey and not self._valkey.running():
                err.print("[yellow]Valkey ended; restarting it[/]")
                port = self._valkey.port
                self._valkey = Valkey.attach(self._data) or Valkey.start(self._data, port=port)
        except ServerError as error:
            err.print(f"[bold red]{error}[/]")


async def _prepare(settings: Settings, data: Path, shards: int, sample: bool) -> Greeting:
    """Migrate, fill an empty catalogue, and create the first editor if there are no users."""
    await migrate_database(settings, shards)
    async with await open_pool(settings, size=2) as pool:
        if sample:
            await load_sample(settings, pool)
            await _project_catalogue(pool)
        empty = (await read_heads(pool))[EDITORIAL] == 0
        known = await read_users(pool)
        new = None if known else await create_user(pool, _EDITOR, "editor")
    editors = [each.name for each in known if each.role == "editor"] + ([new.name] if new else [])
    return Greeting(new, _password_command(editors[0] if editors else None, data), empty)


async def _project_catalogue(pool: Pool[Record]) -> None:
    """Fold the catalogue, so that the first page shows it before a worker has started."""
    while await advance(pool, PROJECTIONS, EDITORIAL):
        pass


async def _run(
    databases: Databases, children: list[supervisor.Child], urls: list[str], greeting: Greeting
) -> None:
    """Supervise the processes, and print the ready line once every API process can commit."""
    background = [
        asyncio.create_task(_announce_ready(urls, greeting)),
        asyncio.create_task(databases.watch()),
    ]
    await supervisor.supervise(children, on_event=_print_event)
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)


async def _announce_ready(urls: list[str], greeting: Greeting) -> None:
    url, deadline = urls[0], time.monotonic() + _READY_TIMEOUT_SECONDS
    while not await asyncio.to_thread(lambda: all(map(_is_ready, urls))):
        if time.monotonic() > deadline:
            err.print(
                f"[bold red]The API at {url} is not ready after {_READY_TIMEOUT_SECONDS} s; still trying.[/]"
            )
            deadline = float("inf")
        await asyncio.sleep(0.05)
    if err.is_terminal:
        err.print(Panel.fit(_welcome(url, greeting), title="Shiplog", border_style="green"))
    else:
        _print_plainly(url, greeting)
    click.echo(f"ready {url}")
    sys.stdout.flush()


def _welcome(url: str, greeting: Greeting) -> str:
    new = greeting.new
    login = f"   {new.name} / {new.password}   (shown once)" if new else ""
    lines = {
        "Site": url,
        "API": f"{url}/schema",
        "Editor": f"{url}/editor{login}",
        "Password": f"{greeting.password_command}   (sets a new one)",
        "Metrics": f"{url}/metrics",
        **({"Next": _FIRST_STEPS} if greeting.empty else {}),
        "Stop": "Ctrl-C",
    }
    return "\n".join(f"{name:<10} {text}" for name, text in lines.items())


def _print_plainly(url: str, greeting: Greeting) -> None:
    """The same for a program that reads the output, a line each."""
    if greeting.new:
        click.echo(f"editor login {greeting.new.name} {greeting.new.password}")
    click.echo(f"new password: {greeting.password_command}")
    if greeting.empty:
        click.echo(f"next: {url}/editor: {_FIRST_STEPS}")


def _password_command(editor: str | None, data: Path) -> str:
    """The command that gives an editor a new password; while there is no editor, the one that makes the first."""
    place = "" if data == DEFAULT_DATA else f" --data {shlex.quote(str(data))}"
    if editor is None:
        return f"shiplog users create {_EDITOR} --role editor{place}"
    return f"shiplog users password {shlex.quote(editor)}{place}"


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _print_event(event: supervisor.ChildEvent) -> None:
    match event:
        case supervisor.ChildExited(name, pid, code):
            err.print(f"[yellow]{name} ({pid}) ended with {code}[/]")
        case supervisor.RestartScheduled(name, seconds) if seconds > 1:
            err.print(f"[yellow]{name} restarts in {seconds:.0f} s[/]")
        case supervisor.StartFailed(name, reason):
            err.print(f"[bold red]{name} did not start: {reason}[/]")
        case _:
            pass


def _child(name: str, environ: dict[str, str], *command: str) -> supervisor.Child:
    return supervisor.Child(name, [sys.executable, "-m", "services.cli", *command], environ)
