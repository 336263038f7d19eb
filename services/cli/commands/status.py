"""`shiplog status`: the heads of the log, and the lag of each read model."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import rich_click as click
from asyncpg import Pool, Record
from msgspec import Struct

from eventstore.heads import read_heads
from projections.engine.blocked import read_blocked, read_unknown_types
from projections.engine.lag import Lag, read_lag
from projections.engine.parked import count_parked, read_parked
from projections.engine.registry import PROJECTIONS
from services.cli.commands.keys import in_database
from services.cli.instance import data_option, instance


class Status(Struct, frozen=True):
    """``heads``: the last position of each shard. ``parked``: the first hundred parked events."""

    heads: dict[int, int]
    read_models: list[Lag]
    incomplete: dict[str, int]
    stopped: list[str]
    parked: list[str]
    unread: list[str]


@click.command()
@data_option
@click.option(
    "--most-seconds", type=click.IntRange(0), help="Exit status 1 when the lag of a read model is longer."
)
@click.option("--json", "as_json", is_flag=True)
def status(data: Path, most_seconds: int | None, as_json: bool) -> None:
    """Show positions and lag, and which read models are stopped or incomplete."""
    with instance(data) as settings:
        now = in_database(settings, _read)
    click.echo(msgspec.json.encode(now) if as_json else _table(now))
    late = [lag for lag in now.read_models if most_seconds is not None and lag.seconds > most_seconds]
    sys.exit(1 if late else 0)


async def _read(pool: Pool[Record]) -> Status:
    return Status(
        await read_heads(pool),
        await read_lag(pool),
        await count_parked(pool),
        [str(stop) for stop in await read_blocked(pool, PROJECTIONS)],
        [str(each) for each in await read_parked(pool)],
        [str(each) for each in await read_unknown_types(pool, PROJECTIONS)],
    )


def _table(now: Status) -> str:
    heads = "log " + ",".join(f"{shard}.{position}" for shard, position in now.heads.items())
    return "\n".join(
        [
            heads,
            *(
                f"{lag.projection:18} {lag.events:>9} events, {lag.seconds:.1f} s behind{_incomplete(now, lag.projection)}"
                for lag in now.read_models
            ),
            *now.stopped,
            *now.parked,
            *now.unread,
        ]
    )


def _incomplete(now: Status, projection: str) -> str:
    missing = now.incomplete.get(projection)
    return f", incomplete by {missing}" if missing else ""
