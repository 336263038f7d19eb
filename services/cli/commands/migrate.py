"""`shiplog migrate`: migrate the durable schema, create the shards of a new log, and install read models."""

from __future__ import annotations

import asyncio
from pathlib import Path

import rich_click as click
from msgspec import Struct

from domain.shared.plurals import count_of
from eventstore.heads import create_heads, extend_events
from eventstore.migrations import migrate as apply_migrations
from projections.engine.install import drop_obsolete, install
from projections.engine.registry import PROJECTIONS
from projections.flips.store import NAME as FLIPS
from projections.flips.store import install_flips
from services.cli.instance import data_option, instance
from services.database import connect
from services.settings import Settings

DEFAULT_SHARDS = 2
# Held until the connection ends, since read models are installed in several transactions.
LOCK_MIGRATIONS = "SELECT pg_advisory_lock(hashtext('shiplog migrate'))"


class MigrationReport(Struct, frozen=True):
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
    help="Voter shards of a new log. An existing log keeps its number.",
)
def migrate(data: Path, shards: int) -> None:
    """Migrate the database to this version."""
    with instance(data, create=True) as settings:
        done = asyncio.run(migrate_database(settings, shards))
    for name in done.applied:
        click.echo(f"applied {name}")
    for name in done.dropped:
        click.echo(f"read model {name} is dropped: this version does not have it")
    for name in done.read_models:
        click.echo(f"read model {name} starts from position 0")
    click.echo(f"up to date, {count_of(done.shards, 'voter shard')}")


async def migrate_database(settings: Settings, shards: int = DEFAULT_SHARDS) -> MigrationReport:
    """Idempotent, and safe to run concurrently."""
    conn = await connect(settings)
    try:
        await conn.execute(LOCK_MIGRATIONS)
        applied = await apply_migrations(conn)
        shard_count = await create_heads(conn, shards)
        await extend_events(conn)
        dropped = await drop_obsolete(conn, [FLIPS, *(each.name for each in PROJECTIONS)])
        installed = await install(conn, PROJECTIONS) + await install_flips(conn)
    finally:
        await conn.close()
    return MigrationReport(applied, shard_count, installed, dropped)
