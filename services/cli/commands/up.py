"""`shiplog up`: databases, migrations, API, workers and the sample catalogue on one machine, in one command."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
import time
from collections.abc import Coroutine
from contextlib import ExitStack
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from socket import socket
from typing import Self

import rich_click as click
from asyncpg import Pool, Record
from msgspec import Struct
from rich.console import Console
from rich.panel import Panel

from domain.shared.log import EDITORIAL, Shard
from eventstore.heads import read_heads
from projections.engine.advance import advance
from projections.engine.registry import PROJECTIONS
from services.auth.accounts import NewUser, create_user, read_users
from services.cli.commands.migrate import DEFAULT_SHARDS, migrate_database
from services.cli.instance import DEFAULT_DATA, data_option, environment, refuse_empty
from services.cli.listening import connect_address, listen, url_of
from services.cli.sample.load import load_sample
from services.embedded import supervisor
from services.embedded.binaries import ServerError
from services.embedded.one_up import hold_data
from services.embedded.postgres import Postgres
from services.embedded.valkey import Valkey
from services.public_address import PublicAddress
from services.resources import open_pool
from services.settings import Settings, from_environment, refuse_misspelt
from services.stop_signals import exit_at_stop_signals, ignore_stop_signals

_EDITOR = "editor"
_FIRST_STEPS = "log in, seat reviewers, list two tools, publish takes"
_READY_TIMEOUT_SECONDS = 60
_WATCH_SECONDS = 0.5
err = Console(stderr=True)


@click.command()
@data_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
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
    refuse_empty("DATABASE_URL", "SHIPLOG_SECRET")
    refuse_misspelt(os.environ)
    exit_at_stop_signals()
    with ExitStack() as stack:
        listeners = [stack.enter_context(listen(host, port and port + number)) for number in range(apis)]
        lock = stack.enter_context(hold_data(data))
        databases = stack.enter_context(Databases(data))
        environ = environment(data, databases.database_url, databases.redis_url)
        environ |= {"SHIPLOG_WORKER_METRICS": str(_empty_metrics_folder(data))}
        settings = from_environment(environ)
        greeting = asyncio.run(_prepare(settings, given, shards, sample))
        children = [
            *(_api(host, each, environ) for each in listeners),
            *(_child(f"worker:{each}", environ, "work") for each in range(1, workers + 1)),
        ]
        announcing = _announce_ready(listeners, url_of(listeners[0], host), greeting, settings.public_address)
        asyncio.run(_run(databases, children, listeners, announcing, lock))


def _empty_metrics_folder(data: Path) -> Path:
    """Workers write their metrics there, and the API processes read them. They count from this start."""
    folder = data / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder


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
                self._postgres, _ = Postgres.attach_or_start(self._data)
                self.database_url = self._postgres.url()
            if not self.redis_url:
                self._valkey = Valkey.attach(self._data) or Valkey.start(self._data)
                self.redis_url = self._valkey.url()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        ignore_stop_signals()  # a second Ctrl-C would leave a server running
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
                self._postgres, _ = Postgres.attach_or_start(self._data, port=port)
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
            await _project(pool)
        empty = (await read_heads(pool))[EDITORIAL] == 0
        known = await read_users(pool)
        new = None if known else await create_user(pool, _EDITOR, "editor")
    editors = [each.name for each in known if each.role == "editor"] + ([new.name] if new else [])
    return Greeting(new, _password_command(editors[0] if editors else None, data), empty)


async def _project(pool: Pool[Record]) -> None:
    """Fold the log, so that the first page shows it before a worker has started."""
    for shard in await read_heads(pool):
        while await advance(pool, PROJECTIONS, Shard(shard)):
            pass


async def _run(
    databases: Databases,
    children: list[supervisor.Child],
    listeners: list[socket],
    announcing: Coroutine[object, object, None],
    lock: int,
) -> None:
    """Supervise the processes, and print the ready line once every API process can commit."""
    background = [asyncio.create_task(announcing), asyncio.create_task(databases.watch())]
    await supervisor.supervise(children, on_event=partial(_on_event, listeners), lock=lock)
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)


async def _announce_ready(
    listeners: list[socket], url: str, greeting: Greeting, public: PublicAddress | None
) -> None:
    addresses, deadline = (
        [connect_address(each) for each in listeners],
        time.monotonic() + _READY_TIMEOUT_SECONDS,
    )
    while not await asyncio.to_thread(lambda: all(map(_is_ready, addresses))):
        if time.monotonic() > deadline:
            err.print(
                f"[bold red]The API at {url} is not ready after {_READY_TIMEOUT_SECONDS} s; still trying.[/]"
            )
            deadline = float("inf")
        await asyncio.sleep(0.05)
    if err.is_terminal:
        err.print(Panel.fit(_welcome(url, greeting, public), title="Shiplog", border_style="green"))
    else:
        _print_plainly(url, greeting, public)
    click.echo(f"ready {url}")
    sys.stdout.flush()


def _welcome(url: str, greeting: Greeting, public: PublicAddress | None) -> str:
    new = greeting.new
    login = f"   {new.name} / {new.password}   (shown once)" if new else ""
    lines = {
        "Site": url,
        **({"Public": public.base} if public else {}),
        "API": f"{url}/schema",
        "Editor": f"{url}/editor{login}",
        "Password": f"{greeting.password_command}   (sets a new one)",
        "Metrics": f"{url}/metrics",
        **({"Next": _FIRST_STEPS} if greeting.empty else {}),
        "Stop": "Ctrl-C",
    }
    return "\n".join(f"{name:<10} {text}" for name, text in lines.items())


def _print_plainly(url: str, greeting: Greeting, public: PublicAddress | None) -> None:
    """The same for a program that reads the output, a line each."""
    if greeting.new:
        click.echo(f"editor login {greeting.new.name} {greeting.new.password}")
    if public:
        click.echo(f"public {public.base}")
    click.echo(f"new password: {greeting.password_command}")
    if greeting.empty:
        click.echo(f"next: {url}/editor: {_FIRST_STEPS}")


def _password_command(editor: str | None, data: Path) -> str:
    """The command that gives an editor a new password; while there is no editor, the one that makes the first."""
    place = "" if data == DEFAULT_DATA else f" --data {shlex.quote(str(data))}"
    if editor is None:
        return f"shiplog users create {_EDITOR} --role editor{place}"
    return f"shiplog users password {shlex.quote(editor)}{place}"


def _is_ready(address: tuple[str, int]) -> bool:
    """By a plain connection: a proxy of the environment is for other hosts."""
    connection = HTTPConnection(*address, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _on_event(listeners: list[socket], event: supervisor.ChildEvent) -> None:
    if isinstance(event, supervisor.StopRequested):
        for listener in listeners:  # new clients go elsewhere while the others are answered
            listener.close()
    _print_event(event)


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


def _api(host: str, listener: socket, environ: dict[str, str]) -> supervisor.Child:
    descriptor, port = listener.fileno(), listener.getsockname()[1]
    command = ("serve", "--host", host, "--port", str(port), "--listener", str(descriptor))
    return _child(f"api:{port}", environ, *command, pass_fds=(descriptor,))


def _child(
    name: str, environ: dict[str, str], *command: str, pass_fds: tuple[int, ...] = ()
) -> supervisor.Child:
    return supervisor.Child(name, [sys.executable, "-m", "services.cli", *command], environ, pass_fds)
