"""`shiplog serve`: API processes on Granian that share one listening socket."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit
from tempfile import TemporaryDirectory
from typing import Any

import rich_click as click
from granian import Granian
from granian._granian import SocketHolder
from granian._internal import load_target
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels

from services.cli.instance import data_option, instance
from services.cli.listening import BACKLOG, listen
from services.database import wait_for_database
from services.settings import Settings
from services.stop_signals import exit_at_stop_signals, heeded_stop_signals

_APP = "services.api.app:create_server"
_HEAD_BYTES_MAX = 16 * 1024
_OTHER_DESCRIPTORS = 128  # databases, files, the server's own
_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_KILL_SECONDS = 8  # a process that has not stopped by itself after a signal is killed


@click.command()
@data_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option(
    "--listener", type=int, hidden=True, help="Descriptor of a listening socket, from `shiplog up`."
)
def serve(data: Path, host: str, port: int, processes: int, listener: int | None) -> None:
    """Serve the API and the site."""
    exit_at_stop_signals()  # until the server handles them itself
    listening = listen(host, port) if listener is None else socket.socket(fileno=listener)
    with instance(data) as settings, _shared_metrics(processes):
        _export(settings)
        wait_for_database(settings, partial(click.echo, err=True))
        server = _SharedSocketServer(
            listening,
            _APP,
            interface=Interfaces.ASGI,
            workers=processes,
            loop=Loops.uvloop,
            http=HTTPModes.http1,  # detecting HTTP/2 without TLS, which nobody sends, costs every request time
            websockets=False,
            http1_settings=HTTP1Settings(header_read_timeout=10_000, max_buffer_size=_HEAD_BYTES_MAX),
            workers_kill_timeout=_KILL_SECONDS,
            backlog=BACKLOG,
            backpressure=int(os.environ["SHIPLOG_CONNECTIONS"]),
            log_level=LogLevels.warning,
        )
        server.on_startup(server.stop_at_hangup)
        server.serve(target_loader=_load_app, wrap_loader=False)


class _SharedSocketServer(Granian):  # type: ignore[misc, valid-type]
    """Granian with a socket that is bound already. Its own sockets would share the port with any server of the same user.

    This is how Granian itself shares a socket where the system cannot balance connections. An accepted connection goes to
    a process that is free, and a process that stops leaves the waiting ones to the others.
    """

    def __init__(self, listener: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._listener, self._heeded = listener, heeded_stop_signals()

    def stop_at_hangup(self) -> None:
        """SIGHUP stops like SIGTERM, unless it is ignored, as under nohup: there are no settings to load again."""
        heeded = signal.SIGHUP in self._heeded
        signal.signal(signal.SIGHUP, self.signal_handler_interrupt if heeded else signal.SIG_IGN)

    def _init_shared_socket(self) -> None:
        self._ssp, self._sso = None, self._listener
        self._sso.set_inheritable(True)
        self._sfd = self._sso.fileno()
        holder: Any = SocketHolder  # its stub does not show the arguments
        self._shd = holder(self._sfd, uds=False, backlog=BACKLOG)


@contextmanager
def _shared_metrics(processes: int) -> Iterator[None]:
    """Several processes keep their metrics in files, which each of them adds up: a scrape reaches any of them.

    The files are of no use to the next run. One process keeps them in memory, which takes a sixth of the time.
    """
    if processes == 1:
        os.environ.pop(_METRICS_FOLDER, None)
        yield
        return
    with TemporaryDirectory(prefix="shiplog-metrics-") as folder:
        os.environ[_METRICS_FOLDER] = folder  # read when a process imports prometheus_client
        yield


def _load_app() -> Any:
    """The app, in a new process. Until the server sets its own, signals have their default effect, not the parent's."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return load_target(_APP, factory=True)


def _export(settings: Settings) -> None:
    """Set the variables from which the server's processes read their settings."""
    os.environ["DATABASE_URL"] = settings.database_url
    os.environ["SHIPLOG_SECRET"] = settings.secret.decode()
    if settings.redis_url:
        os.environ["REDIS_URL"] = settings.redis_url
    os.environ["SHIPLOG_CONNECTIONS"] = str(_connections(settings.connections))
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def _connections(wanted: int) -> int:
    """The limit, lowered if the system allows fewer descriptors: a server without any left spins in accept()."""
    soft, hard = getrlimit(RLIMIT_NOFILE)
    needed = wanted + _OTHER_DESCRIPTORS
    if soft != RLIM_INFINITY and soft < needed:
        soft = needed if hard == RLIM_INFINITY else min(needed, hard)
        setrlimit(RLIMIT_NOFILE, (soft, hard))
    if soft == RLIM_INFINITY or soft >= needed:
        return wanted
    click.echo(
        f"Only {soft} open files are allowed (ulimit -n), so fewer than {wanted} connections are accepted.",
        err=True,
    )
    return max(soft - _OTHER_DESCRIPTORS, 1)
