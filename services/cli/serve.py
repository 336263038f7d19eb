"""`shiplog serve`: one API process on Granian."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import rich_click as click
from granian import Granian
from granian.constants import Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels

from services.cli.instance import data_option, instance

MOST_CONNECTIONS = 8_192  # of one process


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
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        Granian(
            "services.api.app:create_server",
            factory=True,
            interface=Interfaces.ASGI,
            address=host,
            port=port,
            workers=processes,
            loop=Loops.uvloop,
            websockets=False,
            http1_settings=HTTP1Settings(header_read_timeout=10_000, max_buffer_size=32 * 1024),
            workers_kill_timeout=8,
            # Whoever cannot be served is told so by the app, rather than left waiting at the door.
            backlog=MOST_CONNECTIONS,
            backpressure=MOST_CONNECTIONS,
            log_level=LogLevels.warning,
        ).serve()
