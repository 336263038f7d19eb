"""`shiplog trial`: every verdict, now and in the past, under other rulebooks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import rich_click as click
import uvloop
from asyncpg import Pool, Record
from msgspec import Struct

from domain.rulebooks.rulebook import Rulebook
from domain.shared.as_of import PointInTime, parse_point_in_time
from domain.shared.errors import Rejected
from domain.shared.log import Position
from domain.timeline.trials import Totals, Trial, total
from eventstore.as_of_positions import AppendInFlight, resolve_positions
from eventstore.rulebook_decisions import read_state
from eventstore.sealed.store import Store
from eventstore.tool_directory import ToolDirectory
from projections.engine.snapshot import ReadModelBlocked
from projections.trials.jobs import READ_CLOCK
from projections.trials.run import Source, try_rulebook
from services.cli.commands.rulebooks import read_file
from services.cli.commands.trial_tables import print_tables
from services.cli.instance import data_option, instance
from services.cli.progress import show_progress
from services.cli.usage import usage_error
from services.resources import open_pool, sealing_of
from services.settings import Settings


class RulebookTrial(Struct, frozen=True):
    """One trial, with both rulebooks in full; the trial itself has only digests."""

    rulebook: Rulebook
    against: Rulebook
    totals: Totals
    seconds: float
    trial: Trial


class TrialReport(Struct, frozen=True):
    """``slugs`` by tool number."""

    position: str
    slugs: dict[int, str]
    tried: list[RulebookTrial]


@click.command()
@data_option
@click.argument("rulebooks", metavar="RULEBOOK...", nargs=-1, required=True)
@click.option(
    "--as-of", metavar="MOMENT", help="A time, a position, or a position of every shard. Default: now."
)
@click.option(
    "--from",
    "source",
    type=click.Choice(["postgres", "segments"]),
    default="postgres",
    show_default=True,
    help="Source of sealed history. The rest is always read from Postgres.",
)
@click.option("--all", "everything", is_flag=True, help="Show every tool.")
@click.option("--json", "as_json", is_flag=True)
def trial(
    data: Path,
    rulebooks: tuple[str, ...],
    as_of: str | None,
    source: Source,
    everything: bool,
    as_json: bool,
) -> None:
    """Try each RULEBOOK, a name, a digest or a file (.toml), over the whole log. Changes nothing.

    Several rulebooks are compared side by side, up to the same position.
    """
    try:
        with instance(data) as settings:
            report = uvloop.run(_report(settings, rulebooks, _moment(as_of), source))
    except Rejected as rejection:
        raise usage_error(rejection) from None
    except (AppendInFlight, ReadModelBlocked) as error:
        raise click.UsageError(str(error) or type(error).__doc__ or "") from None
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        print_tables(report.position, report.slugs, report.tried, everything=everything)


def _moment(as_of: str | None) -> PointInTime | None:
    try:
        return None if as_of is None else parse_point_in_time(as_of)
    except ValueError as error:
        raise click.UsageError(f"--as-of: {error}") from None


async def _report(
    settings: Settings, named: Sequence[str], moment: PointInTime | None, source: Source
) -> TrialReport:
    session = {"statement_timeout": "60s"}
    async with await open_pool(settings, session=session, size=4) as pool:
        rulebooks, known = await _find(pool, named)
        positions = await resolve_positions(pool, moment or await pool.fetchval(READ_CLOCK))
        store = sealing_of(settings).store if source == "segments" else None
        tried = [await _try(pool, each, known, positions, source, store) for each in rulebooks]
        tools = [each.tool for each in tried[0].trial.tools]
        return TrialReport(",".join(map(str, positions)), await ToolDirectory(pool).slugs_of(tools), tried)


async def _find(pool: Pool[Record], named: Sequence[str]) -> tuple[list[Rulebook], dict[str, Rulebook]]:
    """The requested rulebooks, and all known ones by digest. Raises Unknown or InvalidRulebook."""
    state = await read_state(pool)
    return [
        read_file(Path(each)) if each.endswith(".toml") else state.known[state.find(each)] for each in named
    ], state.known


async def _try(
    pool: Pool[Record],
    rulebook: Rulebook,
    known: dict[str, Rulebook],
    positions: Sequence[Position],
    source: Source,
    store: Store | None,
) -> RulebookTrial:
    started = time.perf_counter()
    with show_progress(title=rulebook.name, quiet=True) as update:
        trial_run = await try_rulebook(
            pool,
            rulebook,
            positions,
            source=source,
            store=store,
            progress=lambda done, total: update(done, total, f"{done:,} of {total:,} events"),
        )
    return RulebookTrial(
        rulebook, known[trial_run.against], total(trial_run), time.perf_counter() - started, trial_run
    )
