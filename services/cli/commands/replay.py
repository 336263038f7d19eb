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
            replayed = uvloop.run(_with_pool(settings, work))
        except Rejected as rejection:
            raise click.UsageError(str(rejection)) from None
    click.echo(msgspec.json.encode(replayed) if as_json else _summary(replayed))
    sys.exit(0 if replayed.state == "cut-over" or (hold and replayed.equal) else 1)


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
    mine = await replays.find_unfinished(pool, live)
    mine = mine or await replays.begin(pool, live, hold=hold, source=source)
    with suppress(replays.WrongReplayState):
        await replays.resume(pool, mine)
    store = sealing_of(settings).store if settings.segments else None
    found = await _run_to_end(pool, mine, store)
    if accept and found.state in ("equal", "different"):
        by = Author(Identity(settings, pool).pseudonym("user", b"command"), "command")
        await cut_over(pool, live, mine, Acceptance(accept, by))
        found = await replays.read_replay(pool, mine)
    return _replayed(found)


async def _run_to_end(pool: Pool[Record], id: UUID, store: Store | None) -> Replay:
    """Run the replay here, or wait for the worker that has claimed it. Ctrl-C pauses it."""
    progress = asyncio.create_task(_show(pool, id))
    try:
        while (found := await replaying.run(pool, PROJECTIONS, id, store)).is_active:
            await asyncio.sleep(_POLL_SECONDS)
        return found
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


def _replayed(found: Replay) -> ReplayReport:
    seconds = ((found.ended_at or datetime.now(UTC)) - found.started_at).total_seconds()
    equal = None if found.drift is None else found.drift == 0
    return ReplayReport(
        found.id,
        found.projection,
        found.state,
        found.done,
        seconds,
        found.done / seconds,
        found.position,
        found.digest,
        equal,
        found.drift,
        found.rows,
    )


def _summary(replayed: ReplayReport) -> str:
    line = f"{replayed.projection}: {replayed.events:,} events in {replayed.seconds:,.1f} s, {replayed.rate:,.0f} a second"
    if replayed.equal is None:
        return f"{line}; {replayed.state}"
    verdict = "equal to the live version" if replayed.equal else f"{replayed.drift:,} rows differ"
    rows = "".join(f"\n    {row}" for row in replayed.rows)
    return f"{line}; digest {replayed.digest} at {replayed.position}, {verdict}; {replayed.state}{rows}"
