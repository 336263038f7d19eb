"""`shiplog serve`: one API process on Granian."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit

import rich_click as click
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels

from services.cli.instance import data_option, instance

_BACKLOG = 8_192  # who waits at the door, as far as the system lets them
_HEAD_BYTES_MAX = 16 * 1024
_DESCRIPTORS = 128  # besides those of connections: databases, files, the server's own


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
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        server = Granian(
            "services.api.app:create_server",
            factory=True,
            interface=Interfaces.ASGI,
            address=host,
            port=port,
            workers=processes,
            loop=Loops.uvloop,
            http=HTTPModes.http1,  # looking for HTTP/2 in the clear, which nobody sends, costs each request something
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
                f"Cannot listen on {host}, port {port}: {reason}. Give another --host or --port."
            ) from None


def _connections(wanted: int) -> int:
    """As many as there are descriptors for: a server that runs out of them keeps a core busy with trying."""
    soft, hard = getrlimit(RLIMIT_NOFILE)
    needed = wanted + _DESCRIPTORS
    if soft != RLIM_INFINITY and soft < needed:
        soft = needed if hard == RLIM_INFINITY else min(needed, hard)
        setrlimit(RLIMIT_NOFILE, (soft, hard))
    if soft == RLIM_INFINITY or soft >= needed:
        return wanted
    click.echo(
        f"Only {soft} files may be open (ulimit -n), so fewer than {wanted} connections are let in.", err=True
    )
    return max(soft - _DESCRIPTORS, 1)
