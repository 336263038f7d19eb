"""`shiplog work`: one worker process."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from pkgutil import resolve_name

import rich_click as click
import uvloop

from services.cli.instance import data_option, instance
from services.database import wait_for_database
from services.settings import worker_metrics_folder
from services.stop_signals import exit_at_stop_signals


@click.command()
@data_option
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    help="Serve this worker's metrics on 127.0.0.1, at this port.",
)
def work(data: Path, metrics_port: int | None) -> None:
    """Run a worker: it keeps the read models up to date with the log."""
    if folder := worker_metrics_folder():
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # read when prometheus_client is imported
    exit_at_stop_signals()  # until the worker handles them itself
    with instance(data) as settings:
        if metrics_port is not None:
            _serve_metrics(metrics_port)
        wait_for_database(settings, partial(click.echo, err=True))
        # Resolved by name, like Granian's target: the layers forbid the command to import workers.
        uvloop.run(resolve_name("services.workers.run:work")(settings))


def _serve_metrics(port: int) -> None:
    try:
        resolve_name("services.workers.metrics:serve_metrics")(port)
    except OSError as error:
        raise click.UsageError(
            f"Cannot serve metrics on 127.0.0.1, port {port}: {error.strerror}. Choose another --metrics-port."
        ) from None
