"""`shiplog work`: one worker process."""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name

import rich_click as click
import uvloop

from services.cli.instance import data_option, instance


@click.command()
@data_option
def work(data: Path) -> None:
    """Keep the read models up with the log."""
    with instance(data) as settings:
        # Named, not imported, as Granian's target is: the command stands beside API and workers.
        uvloop.run(resolve_name("services.workers.run:work")(settings))
