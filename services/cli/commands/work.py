"""`shiplog work`: one worker process."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from pkgutil import resolve_name

import rich_click as click
import uvloop

from services.cli.instance import data_option, instance
from services.database import wait_for_database


@click.command()
@data_option
def work(data: Path) -> None:
    """Run a worker: it keeps the read models up to date with the log."""
    with instance(data) as settings:
        wait_for_database(settings, partial(click.echo, err=True))
        # Resolved by name, like Granian's target: the layers forbid the command to import workers.
        uvloop.run(resolve_name("services.workers.run:work")(settings))
