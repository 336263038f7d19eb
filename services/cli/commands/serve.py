"""`shiplog serve`: one API process on Granian."""

from __future__ import annotations

import logging
import os
import socket
from functools import partial
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit

import rich_click as click
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels

from services.cli.instance import data_option, instance
from services.database import wait_for_database

_BACKLOG = 8_192  # connections not accepted yet; the system may allow fewer
_HEAD_BYTES_MAX = 16 * 1024
_OTHER_DESCRIPTORS = 128  # databases, files, the server's own


@click.command()
@data_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True)
def serve(data: Path, host: str, port: int, processes: int) -> None:
    """Serve the API and the site."""
    with instance(data) as settings:
        os.environ["DATABASE_URL"] = settings.database_url
        os.environ["SHIPLOG_SECRET"] = settings.secret.decode()
        if settings.redis_url:
            os.environ["REDIS_URL"] = settings.redis_url
        connections = _connections(settings.connections)
        os.environ["SHIPLOG_CONNECTIONS"] = str(connections)
        _check_address(host, port)
        wait_for_database(settings, partial(click.echo, err=True))
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        server = Granian(
            "services.api.app:create_server",
            factory=True,
            interface=Interfaces.ASGI,
            address=host,
            port=port,
            workers=processes,
            loop=Loops.uvloop,
            http=HTTPModes.http1,  # detecting HTTP/2 without TLS, which nobody sends, costs every request time
            websockets=False,
            http1_settings=HTTP1Settings(header_read_timeout=10_000, max_buffer_size=_HEAD_BYTES_MAX),
            workers_kill_timeout=8,
            backlog=_BACKLOG,
            backpressure=connections,
            log_level=LogLevels.warning,
        )
        try:
            server.serve()
        except RuntimeError as error:
            if "os error" not in str(error):
                raise
            reason = str(error).splitlines()[0]
            raise click.ClickException(
                f"Cannot listen on {host}, port {port}: {reason}. Choose another --host or --port."
            ) from None


def _check_address(host: str, port: int) -> None:
    """Report a taken port before waiting for the database."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = f"{error.strerror} (os error {error.errno})"
        raise click.ClickException(
            f"Cannot listen on {host}, port {port}: {reason}. Choose another --host or --port."
        ) from None


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
