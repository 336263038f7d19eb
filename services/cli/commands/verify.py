"""`shiplog verify`: recount every read model from the log and compare, row by row."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
import rich_click as click
from msgspec import Struct

from projections.engine.registry import PROJECTIONS
from projections.flips.verify import verify_flips
from projections.replays.sealed_verify import verify_segments
from projections.replays.verify import ModelRecount, verify_all
from services.cli.instance import data_option, instance
from services.resources import open_pool, sealing_of
from services.settings import Settings


class VerifyReport(Struct, frozen=True):
    equal: bool
    read_models: list[ModelRecount]


@click.command()
@data_option
@click.option(
    "--sealed", is_flag=True, help="Compare sealed history and what is folded from it with the log instead."
)
@click.option("--json", "as_json", is_flag=True)
def verify(data: Path, sealed: bool, as_json: bool) -> None:
    """Recount the read models from the log. Exit status 1 when a row differs."""
    with instance(data) as settings:
        verified = asyncio.run(_verify(settings, sealed))
    report = VerifyReport(not any(each.drift for each in verified), verified)
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        for each in verified:
            click.echo(f"{each.projection:18} {each.position:30} {each.drift or 'no'} rows differ")
            for row in each.rows:
                click.echo(f"    {row}")
    sys.exit(0 if report.equal else 1)


async def _verify(settings: Settings, sealed: bool) -> list[ModelRecount]:
    async with await open_pool(settings, session={"statement_timeout": "0"}, size=2) as pool:
        if sealed:
            sealing = sealing_of(settings)
            return await verify_segments(pool, sealing.store, PROJECTIONS, threads=sealing.threads)
        return [*await verify_all(pool, PROJECTIONS), await verify_flips(pool)]
