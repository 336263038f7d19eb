"""`shiplog import`: append a file of votes to the log without going through the API."""

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

from domain.shared.plurals import count_of
from eventstore import ids
from services.cli.importing.history import History, open_history
from services.cli.importing.rejections import RejectedTool, Rejections
from services.cli.importing.run import ImportEnd, ImportOutcome, Reject, ReportProgress, run
from services.cli.instance import data_option, instance
from services.cli.progress import Update, per_second, show_progress
from services.ingest.bulk import describe_stored
from services.ingest.ndjson_votes import BadLine

_SIGNAL_EXIT_STATUS = 128  # plus the number of the signal, as in shells


class ImportReport(Struct, frozen=True):
    """Printed by --json. ``at`` is the time given to lines without an id.

    ``counted`` includes the votes that were counted before, by an earlier import of the same lines; ``changed`` does not.
    ``lines`` are those read, blank ones too. ``rejected_tools`` has each unlisted or retired tool once.
    """

    received: int
    counted: int
    unchanged: int
    superseded: int
    rejected_total: int
    rejected: list[BadLine]
    rejected_tools: list[RejectedTool]
    changed: int
    lines: int
    seconds: float
    rate: float
    at: str
    ended: ImportEnd


class _DefaultToVotes(click.RichGroup):
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
            self.fail(f"{value!r} is not a time with a zone. Write it as 2026-01-31T12:00:00Z.", param, ctx)
        return round(moment.timestamp() * 1000)


@click.group(name="import", cls=_DefaultToVotes)
def import_() -> None:
    """Append history to the log. The subcommand votes may be left out."""


@import_.command()
@data_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "--at", type=_Time(), help="Time of the votes on lines without an id. Default: when FILE was modified."
)
@click.option(
    "--rejected",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write all rejected lines to this file.",
)
@click.option("--json", "as_json", is_flag=True)
def votes(data: Path, file: str, at: int | None, rejected: Path | None, as_json: bool) -> None:
    """Import FILE (- is standard input): NDJSON, one vote a line, plain, gzip or zstd.

    Importing the same file again changes nothing, so an import that was stopped is simply run again.
    Exit status 1 when lines were rejected.
    """
    rejections = Rejections()
    with open_history(file) as history, _writer(rejected, file) as reject:
        moment = _moment(at, history)
        with instance(data) as settings, show_progress(quiet=as_json) as update:
            started = time.monotonic()
            report = _reporter(history, started, update)
            outcome = uvloop.run(run(settings, history, moment, _both(rejections.add, reject), report))
            seconds = time.monotonic() - started
    imported = _report(outcome, rejections, seconds, moment)
    click.echo(msgspec.json.encode(imported) if as_json else _summary(imported))
    for each in () if as_json else rejections.report():
        click.echo(each, err=True)
    _explain(imported, history)
    sys.exit(
        _SIGNAL_EXIT_STATUS + history.stopped_by
        if history.stopped_by
        else int(imported.ended != "complete" or imported.rejected_total > 0)
    )


def _both(first: Reject, second: Reject) -> Reject:
    def reject(bad: Sequence[BadLine]) -> None:
        first(bad)
        second(bad)

    return reject


def _report(outcome: ImportOutcome, rejections: Rejections, seconds: float, moment: int) -> ImportReport:
    result = outcome.result
    return ImportReport(
        **msgspec.structs.asdict(result),
        rejected_tools=rejections.tools,
        changed=result.counted - outcome.resent,
        lines=outcome.lines,
        seconds=seconds,
        rate=result.received / seconds,
        at=_text(moment),
        ended=outcome.ended,
    )


def _reporter(history: History, started: float, update: Update) -> ReportProgress:
    def report(lines: int) -> None:
        text = f"{count_of(lines, 'line')}, {per_second(lines, started):,.0f} a second"
        update(history.read, history.size, text)

    return report


def _moment(at: int | None, history: History) -> int:
    """The time given to lines without an id, in milliseconds since 1970."""
    given = at if at is not None else history.modified_ms
    moment = given if given is not None else time.time_ns() // 1_000_000
    if moment < 0:
        raise click.UsageError(f"{_text(moment)} is before 1970, where ids begin. Set --at to a later time.")
    if moment > ids.latest_id_milliseconds():
        raise click.UsageError(
            f"{_text(moment)} is in the future. Set --at to the time when these votes were cast."
        )
    if at is None and not history.is_file:
        click.echo(
            f"Lines without an id get the time {_text(moment)}. To import the same input again without changing "
            f"anything, give --at {_text(moment)}.",
            err=True,
        )
    return moment


def _text(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@contextmanager
def _writer(rejected: Path | None, file: str) -> Iterator[Callable[[Sequence[BadLine]], None]]:
    """A function that writes rejected lines as NDJSON, or ignores them without --rejected."""
    if rejected is None:
        yield lambda _: None
        return
    if file != "-" and rejected.exists() and rejected.samefile(file):
        raise click.UsageError("--rejected would overwrite FILE. Choose another file.")
    encoder = msgspec.json.Encoder()
    with rejected.open("wb") as out:

        def write(bad: Sequence[BadLine]) -> None:
            out.write(encoder.encode_lines(bad))

        yield write


def _summary(imported: ImportReport) -> str:
    before = imported.counted - imported.changed
    counts = [f"{imported.changed:,} counted", *([f"{before:,} counted before"] if before else [])]
    counts += [f"{imported.unchanged:,} unchanged", f"{imported.superseded:,} superseded"]
    return (
        f"{count_of(imported.received, 'line')} in {imported.seconds:,.1f} s, {imported.rate:,.0f} a second: "
        f"{', '.join(counts)}, {imported.rejected_total:,} rejected"
        f"{'' if imported.changed else '. Nothing changed.'}"
    )


def _explain(imported: ImportReport, history: History) -> None:
    """Say on standard error where the import ended early, and how to resume."""
    read, stored = (
        count_of(imported.lines, "line"),
        describe_stored(imported.received - imported.rejected_total),
    )
    if imported.ended == "damaged":
        click.echo(
            f"The compressed data is damaged or cut short after {read}. {stored}",
            err=True,
        )
    if imported.ended == "stopped":
        exact = "" if history.is_file else f" with --at {imported.at}"
        click.echo(
            f"Stopped after {read}. {stored} Import the same input again{exact} to resume.",
            err=True,
        )
