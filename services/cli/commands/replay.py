"""`shiplog replay`: rebuild a read model from the log alongside the live version, compare, and cut over."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import msgspec
import rich_click as click
import uvloop
from asyncpg import Pool, Record
from msgspec import Struct

from domain.shared.errors import Rejected
from domain.shared.plurals import count_of
from eventstore.decisions import Author
from eventstore.sealed.store import Store
from projections.engine.projection import Projection
from projections.engine.registry import PROJECTIONS
from projections.replays import jobs as replays
from projections.replays import run as replaying
from projections.replays.cut_over import Acceptance, cut_over, roll_back
from projections.replays.jobs import Replay, Source
from services.auth.identity import Identity
from services.cli.instance import data_option, instance
from services.cli.progress import show_progress
from services.cli.usage import usage_error
from services.resources import open_pool, sealing_of
from services.settings import Settings

# Each range is a transaction that may take long, and needs memory for its groups.
_SESSION = {"statement_timeout": "10min", "lock_timeout": "60s", "work_mem": "128MB"}
_POLL_SECONDS = 0.2

T = TypeVar("T")


class ReplayReport(Struct, frozen=True):
    """``equal``: no row differs between the rebuilt and the live version; None before they are compared."""

    id: UUID
    projection: str
    state: str
    events: int
    seconds: float
    rate: float
    position: str | None
    digest: str | None
    equal: bool | None
    drift: int | None
    rows: list[str]


@click.command()
@data_option
@click.argument("projection")
@click.option(
    "--accept", metavar="REASON", help="Cut over although rows differ. The reason is recorded in the log."
)
@click.option(
    "--from",
    "source",
    type=click.Choice(["postgres", "segments"]),
    default="postgres",
    show_default=True,
    help="Source of sealed history. The rest is always read from Postgres.",
)
@click.option("--hold", is_flag=True, help="Compare, but do not cut over yet.")
@click.option(
    "--roll-back", "wanted", flag_value="roll-back", help="Go back to the version before the last cut-over."
)
@click.option("--cancel", "wanted", flag_value="cancel", help="Cancel the replay that is under way.")
@click.option("--json", "as_json", is_flag=True)
def replay(
    data: Path,
    projection: str,
    accept: str | None,
    source: Source,
    hold: bool,
    wanted: str | None,
    as_json: bool,
) -> None:
    """Rebuild PROJECTION while the live version keeps serving, and cut over if both are equal.

    A replay that was stopped resumes where it was. Exit status 1 when rows differ: they are printed, and the live
    version stays until --accept.
    """
    with instance(data) as settings:
        try:
            live = replays.find(PROJECTIONS, projection)
            if wanted:
                click.echo(uvloop.run(_with_pool(settings, partial(_ACTIONS[wanted], live=live))))
                return
            work = partial(_replay, settings=settings, live=live, accept=accept, hold=hold, source=source)
            report = uvloop.run(_with_pool(settings, work))
        except Rejected as rejection:
            raise usage_error(rejection) from None
    click.echo(msgspec.json.encode(report) if as_json else _summary(report))
    sys.exit(0 if report.state == "cut-over" or (hold and report.equal) else 1)


async def _with_pool(settings: Settings, work: Callable[[Pool[Record]], Awaitable[T]]) -> T:
    async with await open_pool(settings, session=_SESSION, size=replaying.PARALLEL + 3) as pool:
        return await work(pool)


async def _replay(
    pool: Pool[Record],
    settings: Settings,
    live: Projection,
    accept: str | None,
    *,
    hold: bool,
    source: Source,
) -> ReplayReport:
    replay_id = await replays.find_unfinished(pool, live)
    replay_id = replay_id or await replays.begin(pool, live, hold=hold, source=source)
    with suppress(replays.WrongReplayState):
        await replays.resume(pool, replay_id)
    store = sealing_of(settings).store if settings.segments else None
    replay = await _run_to_end(pool, replay_id, store)
    if accept and replay.state in ("equal", "different"):
        by = Author(Identity(settings, pool).pseudonym("user", b"command"), "command")
        await cut_over(pool, live, replay_id, Acceptance(accept, by))
        replay = await replays.read_replay(pool, replay_id)
    return _report(replay)


async def _run_to_end(pool: Pool[Record], id: UUID, store: Store | None) -> Replay:
    """Run the replay here, or wait for the worker that has claimed it. Ctrl-C pauses it."""
    progress = asyncio.create_task(_show(pool, id))
    try:
        while (replay := await replaying.run(pool, PROJECTIONS, id, store)).is_active:
            await asyncio.sleep(_POLL_SECONDS)
        return replay
    except asyncio.CancelledError:
        with suppress(replays.WrongReplayState):
            await replays.pause(pool, id)
        click.echo(
            "Stopped. Run the same command again to resume, or with --cancel to cancel the replay.", err=True
        )
        raise
    finally:
        progress.cancel()
        await asyncio.gather(progress, return_exceptions=True)


async def _show(pool: Pool[Record], id: UUID) -> None:
    with show_progress() as update:
        while True:
            now = await replays.read_replay(pool, id)
            text = f"{now.done:,} of {now.total:,} events, {now.rate:,.0f} a second"
            update(now.done, now.total or None, text)
            await asyncio.sleep(_POLL_SECONDS)


async def _roll_back(pool: Pool[Record], live: Projection) -> str:
    await roll_back(pool, live)
    return f"{live.name} is back at the version before the last cut-over"


async def _cancel(pool: Pool[Record], live: Projection) -> str:
    under_way = await replays.find_unfinished(pool, live)
    if under_way is None:
        return f"no replay of {live.name} is under way"
    await replays.cancel(pool, PROJECTIONS, under_way)
    return f"the replay of {live.name} is cancelled; the live version is unchanged"


_ACTIONS = {"roll-back": _roll_back, "cancel": _cancel}


def _report(replay: Replay) -> ReplayReport:
    seconds = ((replay.ended_at or datetime.now(UTC)) - replay.started_at).total_seconds()
    equal = None if replay.drift is None else replay.drift == 0
    return ReplayReport(
        replay.id,
        replay.projection,
        replay.state,
        replay.done,
        seconds,
        replay.done / seconds,
        replay.position,
        replay.digest,
        equal,
        replay.drift,
        replay.rows,
    )


def _summary(report: ReplayReport) -> str:
    line = f"{report.projection}: {count_of(report.events, 'event')} in {report.seconds:,.1f} s, {report.rate:,.0f} a second"
    if report.equal is None:
        return f"{line}; {report.state}"
    verdict = (
        "equal to the live version"
        if report.equal
        else f"{count_of(report.drift or 0, 'row')} {'differs' if report.drift == 1 else 'differ'}"
    )
    rows = "".join(f"\n    {row}" for row in report.rows)
    return f"{line}; digest {report.digest} at {report.position}, {verdict}; {report.state}{rows}"
