"""`shiplog migrate`: the durable schema, the shards of a new log, and the read models' tables."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import rich_click as click
from msgspec import Struct

from eventstore.heads import create_heads, extend_events
from eventstore.migrations import migrate as apply_migrations
from projections.engine.install import drop_obsolete, install
from projections.engine.registry import PROJECTIONS
from projections.flips.store import NAME as FLIPS
from projections.flips.store import install_flips
from services.cli.instance import data_option, instance
from services.settings import Settings

DEFAULT_SHARDS = 2
# Until the connection ends: read models' tables are not created in one transaction.
WAIT_FOR_OTHERS = "SELECT pg_advisory_lock(hashtext('shiplog migrate'))"


class Migrated(Struct, frozen=True):
    applied: list[str]
    shards: int
    read_models: list[str]
    dropped: list[str]


@click.command()
@data_option
@click.option(
    "--shards",
    type=click.IntRange(1, 256),
    default=DEFAULT_SHARDS,
    show_default=True,
    help="Shards of people in a new log; a log keeps the number it was born with.",
)
def migrate(data: Path, shards: int) -> None:
    """Bring the database up to this version."""
    with instance(data) as settings:
        done = asyncio.run(migrate_database(settings, shards))
    for name in done.applied:
        click.echo(f"applied {name}")
    for name in done.dropped:
        click.echo(f"read model {name} is dropped: this version does not have it")
    for name in done.read_models:
        click.echo(f"read model {name} starts from position 0")
    click.echo(f"up to date, {done.shards} shards of people")


async def migrate_database(settings: Settings, shards: int = DEFAULT_SHARDS) -> Migrated:
    """Safe to run again, and by several at once."""
    conn = await asyncpg.connect(settings.database_url, timeout=10, server_settings={"TimeZone": "UTC"})
    try:
        await conn.execute(WAIT_FOR_OTHERS)
        applied = await apply_migrations(conn)
        born_with = await create_heads(conn, shards)
        await extend_events(conn)
        dropped = await drop_obsolete(conn, [FLIPS, *(each.name for each in PROJECTIONS)])
        fresh = await install(conn, PROJECTIONS) + await install_flips(conn)
    finally:
        await conn.close()
    return Migrated(applied, born_with, fresh, dropped)
