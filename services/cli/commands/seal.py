"""`shiplog seal` and `shiplog segments`: seal history now, and check the segments."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import rich_click as click
from asyncpg import Pool, Record
from msgspec import Struct
from msgspec.structs import replace

from domain.shared.plurals import count_of
from eventstore.sealed.manifest import Manifest, Segment
from eventstore.sealed.seal import find_due_segments
from eventstore.sealed.seal import seal as seal_segment
from eventstore.sealed.store import Store
from services.cli.instance import data_option, instance, segments_folder
from services.cli.progress import Update, per_second, show_progress
from services.resources import Sealing, open_pool, sealing_of
from services.settings import Settings

# A segment may take longer than an answer, and is read by key.
_SESSION = {"statement_timeout": "0", "enable_seqscan": "off"}


class SealReport(Struct, frozen=True):
    """``positions``: the number sealed; ``rate``: positions a second."""

    segments: list[Segment]
    positions: int
    seconds: float
    rate: float


class SegmentsReport(Struct, frozen=True):
    """``segments`` are the sound ones; ``damaged`` has a text for each of the others."""

    sound: bool
    segments: list[Manifest]
    damaged: list[str]


@click.command()
@data_option
@click.option("--all", "everything", is_flag=True, help="Seal up to the head, with a shorter last segment.")
@click.option("--json", "as_json", is_flag=True)
def seal(data: Path, everything: bool, as_json: bool) -> None:
    """Write history that is due into Parquet files that never change. Workers do the same every minute."""
    with instance(data) as settings:
        started = time.monotonic()
        segments = asyncio.run(_seal(settings, everything, as_json))
        seconds = max(time.monotonic() - started, 1e-6)
    positions = sum(segment.count for segment in segments)
    report = SealReport(segments, positions, seconds, positions / seconds)
    click.echo(msgspec.json.encode(report) if as_json else _summary(report))


async def _seal(settings: Settings, everything: bool, quiet: bool) -> list[Segment]:
    sealing = sealing_of(settings)
    if everything:
        sealing = replace(sealing, plan=replace(sealing.plan, short=True))
    async with await open_pool(settings, session=_SESSION, size=2) as pool:
        segments = await find_due_segments(pool, sealing.store, sealing.plan)
        with show_progress(quiet=quiet, line_seconds=0) as update:
            return await _seal_each(pool, sealing, segments, update)


async def _seal_each(
    pool: Pool[Record], sealing: Sealing, segments: Sequence[Segment], update: Update
) -> list[Segment]:
    sealed: list[Segment] = []
    done, total, started = 0, sum(segment.count for segment in segments), time.monotonic()
    for segment in segments:
        if await seal_segment(pool, sealing.store, segment, sealing.threads):
            sealed.append(segment)
        done += segment.count
        rate = per_second(done, started)
        update(done, total, f"{done:,} of {total:,} events, {rate:,.0f} a second")
    return sealed


def _summary(sealed: SealReport) -> str:
    if not sealed.segments:
        return "Nothing is due."
    return (
        f"{count_of(len(sealed.segments), 'segment')} with {count_of(sealed.positions, 'event')} in {sealed.seconds:,.1f} s, "
        f"{sealed.rate:,.0f} a second"
    )


@click.command()
@data_option
@click.option("--json", "as_json", is_flag=True)
def segments(data: Path, as_json: bool) -> None:
    """List the segments and verify their checksums. Needs no database. Exit status 1 when one is damaged."""
    folder = segments_folder(data)
    if not folder.is_dir():
        raise click.UsageError(
            f"There is no folder {folder}: nothing is sealed yet, or SHIPLOG_SEGMENTS has to name another folder."
        )
    sound, damaged = Store(folder).check_all()
    report = SegmentsReport(not damaged, sound, damaged)
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        for manifest in report.segments:
            click.echo(
                f"{manifest.segment!s:32} {manifest.content.count:>12,} events  {manifest.sha256[:16]}"
            )
        for damage in report.damaged:
            click.echo(damage, err=True)
    sys.exit(0 if report.sound else 1)
