"""`shiplog backup` and `shiplog restore`: the whole log and what belongs to it, in one file."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import msgspec
import rich_click as click
from asyncpg import Pool, Record
from msgspec import Struct

from domain.shared.log import Shard
from projections.engine.advance import advance, shards_behind
from projections.engine.registry import PROJECTIONS
from projections.flips.advance import advance_flips
from services.backups.archive import (
    ArchiveError,
    BackupManifest,
    check_archive,
    fingerprint,
    open_archive,
    read_secret,
)
from services.backups.backup import back_up
from services.backups.restore import RestoreRefused
from services.backups.restore import restore as load_backup
from services.backups.segments import set_segments_aside
from services.cli.commands.migrate import migrate_database
from services.cli.instance import data_option, instance
from services.cli.progress import show_progress
from services.resources import open_pool
from services.settings import Settings

_FOLDING = {"statement_timeout": "0", "enable_seqscan": "off"}


class BackupReport(Struct, frozen=True):
    """``bytes``: the size of the file. ``heads``: the last position of each shard in it."""

    file: str
    bytes: int
    made_at: str
    events: int
    heads: dict[int, int]
    rows: dict[str, int]
    seconds: float


@click.command()
@data_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--without-secret", is_flag=True, help="Leave SHIPLOG_SECRET out; keep it elsewhere, a restore needs it."
)
@click.option("--json", "as_json", is_flag=True)
def backup(data: Path, file: Path, without_secret: bool, as_json: bool) -> None:
    """Write the log and all that belongs to it to FILE, as of one moment. The instance may run."""
    if file.exists():
        raise click.UsageError(f"{file} exists. Choose another name: a backup never replaces a file.")
    if not file.absolute().parent.is_dir():
        raise click.UsageError(f"There is no folder {file.absolute().parent}. Create it first.")
    started = time.monotonic()
    with instance(data) as settings, show_progress(title="backup", quiet=as_json) as show:
        manifest = asyncio.run(
            back_up(
                settings,
                file,
                with_secret=not without_secret,
                progress=lambda done, table: show(done, None, f"{done / 1e6:,.1f} MB, {table}"),
            )
        )
    _print(_report(file, manifest, started), as_json, "written")


@click.command()
@data_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--replace", is_flag=True, help="Replace everything that is in the database now.")
@click.option("--check", is_flag=True, help="Only read FILE and compare its digests. Needs no database.")
@click.option("--json", "as_json", is_flag=True)
def restore(data: Path, file: Path, replace: bool, check: bool, as_json: bool) -> None:
    """Restore FILE into an empty database, or into the one it came from. Stop `up`, `serve` and `work` before.

    Exit status 1 when FILE is damaged; the database is then as it was.
    """
    started = time.monotonic()
    try:
        with open_archive(file) as (archive, manifest):
            if check:
                check_archive(archive, manifest)
            else:
                with _target(data, manifest, read_secret(archive), replace=replace) as settings:
                    _restore(settings, archive, manifest, replace=replace, quiet=as_json)
    except ArchiveError as error:
        click.echo(f"shiplog: {error}", err=True)
        sys.exit(1)
    _print(_report(file, manifest, started), as_json, "intact" if check else "restored")


def _restore(
    settings: Settings, archive: ZipFile, manifest: BackupManifest, *, replace: bool, quiet: bool
) -> None:
    with show_progress(title="restore", quiet=quiet) as show:

        def progress(done: int, table: str) -> None:
            show(done, manifest.bytes, table)

        asyncio.run(load_backup(settings, archive, manifest, replace=replace, progress=progress))
    if aside := set_segments_aside(settings.segments):
        click.echo(f"Sealed segments of the log that was replaced are in {aside}.", err=True)
    asyncio.run(_finish(settings, quiet=quiet))


@contextmanager
def _target(data: Path, manifest: BackupManifest, secret: str | None, *, replace: bool) -> Iterator[Settings]:
    """The instance to restore into, with the secret of the backup. An instance that does not exist yet is created."""
    data.mkdir(parents=True, exist_ok=True)
    with (
        _secret_in_place(data / "secret", manifest, secret, replace=replace),
        instance(data, create=True) as settings,
    ):
        if fingerprint(settings.secret) != manifest.secret:
            raise RestoreRefused(
                "SHIPLOG_SECRET is not the one of the backup, so keys would be refused and every voter would be new. "
                "Set the right one, or remove the variable to take the one in the backup."
            )
        yield settings


@contextmanager
def _secret_in_place(
    path: Path, manifest: BackupManifest, secret: str | None, *, replace: bool
) -> Iterator[None]:
    """Write the secret of the backup to the data folder. Another one is kept beside it, and put back after an error."""
    known = path.read_bytes() if path.exists() else None
    if os.environ.get("SHIPLOG_SECRET") or (known and fingerprint(known) == manifest.secret):
        yield
        return
    if secret is None:
        raise RestoreRefused("The backup was made without its secret. Set SHIPLOG_SECRET to it.")
    if known and not replace:
        raise RestoreRefused(
            f"{path} is the secret of another instance. Choose another --data, or replace it with --replace."
        )
    kept = path.with_name(f"secret.replaced-{int(time.time())}")
    if known:
        path.rename(kept)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secret)
        yield
    except BaseException:
        path.unlink()
        if known:
            kept.rename(path)
        raise


async def _finish(settings: Settings, *, quiet: bool) -> None:
    """Bring the schema to this release, and fold all read models and flips."""
    await migrate_database(settings)
    async with await open_pool(settings, session=_FOLDING, size=2) as pool:
        await _fold(pool, quiet=quiet)


async def _fold(pool: Pool[Record], *, quiet: bool) -> None:
    folded = 0
    with show_progress(title="read models", quiet=quiet) as show:
        for shard in await shards_behind(pool):
            while advanced := await advance(pool, PROJECTIONS, Shard(shard)):
                folded += advanced.events
                show(folded, None, f"{folded:,} events folded")
        while events := await advance_flips(pool):
            folded += events
            show(folded, None, f"{folded:,} events folded and searched for flips")


def _report(file: Path, manifest: BackupManifest, started: float) -> BackupReport:
    return BackupReport(
        file=str(file),
        bytes=file.stat().st_size,
        made_at=manifest.made_at,
        events=manifest.events,
        heads=manifest.heads,
        rows={table.name: table.rows for table in manifest.tables},
        seconds=round(time.monotonic() - started, 3),
    )


def _print(report: BackupReport, as_json: bool, done: str) -> None:
    if as_json:
        click.echo(msgspec.json.encode(report))
        return
    heads = ",".join(f"{shard}.{position}" for shard, position in report.heads.items())
    click.echo(
        f"{report.file} {done}: {report.events:,} events, log at {heads}, made {report.made_at}, "
        f"{report.bytes / 1e6:,.1f} MB, {report.seconds:.1f} s"
    )
    if done == "restored":
        click.echo(
            f"Keys, users and webhooks are those of {report.made_at}: look at `shiplog keys list` before you start it."
        )
