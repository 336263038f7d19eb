"""`shiplog import`: histories of votes, put straight into the log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import rich_click as click
import uvloop
from msgspec import Struct

from eventstore import ids
from services.cli.importing.history import History, open_history
from services.cli.importing.progress import shown
from services.cli.importing.run import Ended, run
from services.cli.instance import data_option, instance
from services.ingest.ndjson_votes import BadLine

_STOPPED = 128  # plus the signal's number, as shells have it


class Imported(Struct, frozen=True):
    """What scripts are told. ``at`` is the time of the lines without an id."""

    received: int
    counted: int
    unchanged: int
    superseded: int
    rejected_total: int
    rejected: list[BadLine]
    seconds: float
    rate: float
    at: str
    ended: Ended


class _VotesUnlessSaid(click.RichGroup):
    """`shiplog import FILE` is `shiplog import votes FILE`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["votes", *args]
        return super().parse_args(ctx, args)


class _Time(click.ParamType[int]):
    """Milliseconds since 1970."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail(f"{value!r} is no time. Give it as 2026-01-31T12:00:00Z.", param, ctx)
        return round(moment.timestamp() * 1000)


@click.group(name="import", cls=_VotesUnlessSaid)
def import_() -> None:
    """Put histories straight into the log. Without a subcommand: votes."""


@import_.command()
@data_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--at", type=_Time(), help="When lines without an id were cast; else when FILE was modified.")
@click.option("--rejected", type=click.Path(dir_okay=False, path_type=Path), help="Write all bad lines here.")
@click.option("--json", "as_json", is_flag=True)
def votes(data: Path, file: str, at: int | None, rejected: Path | None, as_json: bool) -> None:
    """Import FILE (- is standard input): one vote a line, as for bulk, plain, gzip or zstd.

    Importing the same file again changes nothing, so that is how to go on after a stop.
    Exit status 1 when lines were rejected.
    """
    with open_history(file) as history, _writer(rejected, file) as reject:
        moment = _moment(at, history)
        with instance(data) as settings, shown(history.size, quiet=as_json) as show:
            started = time.monotonic()
            answered, ended = uvloop.run(run(settings, history, moment, reject, show))
            seconds = time.monotonic() - started
    rate = answered.received / seconds
    imported = Imported(
        **msgspec.structs.asdict(answered), seconds=seconds, rate=rate, at=_text(moment), ended=ended
    )
    click.echo(msgspec.json.encode(imported) if as_json else _summary(imported))
    _explain(imported, history, as_json)
    sys.exit(
        _STOPPED + history.stopped_by
        if history.stopped_by
        else int(ended != "complete" or answered.rejected_total > 0)
    )


def _moment(at: int | None, history: History) -> int:
    """Milliseconds since 1970 of the lines that have no id."""
    moment = at or history.modified_ms or time.time_ns() // 1_000_000
    if not 0 < moment <= ids.latest_id_milliseconds():
        raise click.UsageError(f"{_text(moment)} is in the future. Set --at to when these votes were cast.")
    if at is None and not history.is_file:
        click.echo(
            f"Lines without an id are cast at {_text(moment)}. Importing the same input again is exact only "
            f"with ids, or with --at {_text(moment)}.",
            err=True,
        )
    return moment


def _text(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@contextmanager
def _writer(rejected: Path | None, file: str) -> Iterator[Callable[[Sequence[BadLine]], None]]:
    """Writes bad lines as NDJSON, if they are wanted."""
    if rejected is None:
        yield lambda _: None
        return
    if file != "-" and rejected.exists() and rejected.samefile(file):
        raise click.UsageError("--rejected would overwrite FILE. Name another.")
    encoder = msgspec.json.Encoder()
    with rejected.open("wb") as out:

        def write(bad: Sequence[BadLine]) -> None:
            out.write(encoder.encode_lines(bad))

        yield write


def _summary(imported: Imported) -> str:
    return (
        f"{imported.received:,} lines in {imported.seconds:,.1f} s, {imported.rate:,.0f} a second: "
        f"{imported.counted:,} counted, {imported.unchanged:,} unchanged, {imported.superseded:,} superseded, "
        f"{imported.rejected_total:,} rejected"
    )


def _explain(imported: Imported, history: History, as_json: bool) -> None:
    """To people, on standard error."""
    if not as_json:
        for bad in imported.rejected:
            click.echo(f"line {bad.line}: {bad.detail}", err=True)
        if imported.rejected_total > len(imported.rejected):
            click.echo("The first hundred are shown; --rejected FILE writes all of them.", err=True)
    if imported.ended == "damaged":
        click.echo(
            f"The packed data is damaged, or cut short, after line {imported.received:,}. All before is in the log.",
            err=True,
        )
    if imported.ended == "stopped":
        exact = "" if history.is_file else f" with --at {imported.at}"
        click.echo(
            f"Stopped after line {imported.received:,}: all up to there is in the log. Import the same again{exact} to go on.",
            err=True,
        )
