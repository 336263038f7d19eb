"""`shiplog verdict`: a tool's verdict with its explanation, now or in the past, under any rulebook, and its proof."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import rich_click as click
from asyncpg import Pool, Record
from msgspec import Struct

from domain.rulebooks.rulebook import Rulebook
from domain.shared.as_of import PointInTime, parse_point_in_time
from domain.shared.errors import Rejected
from domain.verdicts.verdict import PanelSplit, Tally, Verdict
from eventstore.as_of_positions import AppendInFlight, resolve_positions
from eventstore.tool_directory import ToolDirectory
from projections.engine.snapshot import ReadModelBehind, Snapshot, take_snapshot
from projections.reads.as_of import snapshot_as_of
from projections.reads.verdict_inputs import VerdictInputs, read_verdict_inputs
from services.cli.commands.keys import in_database
from services.cli.commands.rulebooks import read_file
from services.cli.instance import data_option, instance
from services.cli.usage import usage_error


class VerdictReport(Struct, frozen=True):
    """``position``: the last position folded of every shard."""

    tool: str
    position: str
    verdict: Verdict


@click.command()
@data_option
@click.argument("slug")
@click.option("--as-of", metavar="MOMENT", help="A time, a position, or a position of every shard.")
@click.option(
    "--rulebook",
    metavar="DIGEST|NAME|FILE.toml",
    help="Judge by this rulebook instead of the one in force then.",
)
@click.option(
    "--prove",
    "bundle",
    type=click.Path(allow_dash=True, dir_okay=False),
    help="Write the proof bundle to this file; - prints it.",
)
@click.option("--json", "as_json", is_flag=True)
def verdict(
    data: Path, slug: str, as_of: str | None, rulebook: str | None, bundle: str | None, as_json: bool
) -> None:
    """Show the verdict on the tool SLUG and why. verify_verdict.py checks a proof bundle without Shiplog."""
    try:
        moment, by = _moment(as_of), _rulebook(rulebook)
        with instance(data) as settings:
            inputs = in_database(settings, partial(_read, slug=slug, moment=moment, by=by))
    except Rejected as rejection:
        raise usage_error(rejection) from None
    except (ReadModelBehind, AppendInFlight) as error:
        raise click.UsageError(type(error).__doc__ or "") from None
    if bundle is not None:
        with click.open_file(bundle, "wb") as file:
            file.write(inputs.prove())
    if bundle != "-":
        click.echo(msgspec.json.encode(_report(inputs)) if as_json else _text(inputs))


def _moment(as_of: str | None) -> PointInTime | None:
    try:
        return None if as_of is None else parse_point_in_time(as_of)
    except ValueError as error:
        raise click.UsageError(f"--as-of: {error}") from None


def _rulebook(named: str | None) -> Rulebook | str | None:
    """Raises InvalidRulebook or OSError."""
    return read_file(Path(named)) if named and named.endswith(".toml") else named


async def _read(
    pool: Pool[Record], slug: str, moment: PointInTime | None, by: Rulebook | str | None
) -> VerdictInputs:
    tool = (await ToolDirectory(pool).find(slug)).tool
    async with _snapshot(pool, moment) as snapshot:
        return await read_verdict_inputs(snapshot, slug, tool, by)


@asynccontextmanager
async def _snapshot(pool: Pool[Record], moment: PointInTime | None) -> AsyncIterator[Snapshot]:
    if moment is None:
        async with take_snapshot(pool) as snapshot:
            yield snapshot
    else:
        async with snapshot_as_of(pool, await resolve_positions(pool, moment)) as (past,):
            yield past


def _report(inputs: VerdictInputs) -> VerdictReport:
    return VerdictReport(inputs.tool, str(inputs.freshness), inputs.judge())


def _text(inputs: VerdictInputs) -> str:
    verdict = inputs.judge()
    panel, tally, margin = verdict.panel, verdict.community, verdict.margin
    interval = "" if tally.interval is None else f", {tally.interval[0]} to {tally.interval[1]}"
    lines = [
        *zip(("why", *[""] * len(verdict.explanation)), verdict.explanation, strict=False),
        ("panel", f"{_split(panel)}{'' if panel.mean_score is None else f', mean score {panel.mean_score}'}"),
        ("community", f"{_split(tally)}{interval}"),
        ("margin", f"{_fewest(margin.takes, 'take')}, {_fewest(margin.votes, 'vote')}"),
        ("rulebook", f"{inputs.rulebook.name} {verdict.rulebook}"),
        ("inputs", verdict.inputs),
        ("position", str(inputs.freshness)),
    ]
    return "\n".join([f"{inputs.tool}: {verdict.label}", *(f"  {name:10} {value}" for name, value in lines)])


def _split(counts: PanelSplit | Tally) -> str:
    return (
        f"{counts.ship} ship, {counts.skip} skip{'' if counts.share is None else f', share {counts.share}'}"
    )


def _fewest(number: int | None, what: str) -> str:
    """The fewest takes or votes whose removal would change the label."""
    return f"no number of {what}s" if number is None else f"{number} {what}{'' if number == 1 else 's'}"
