"""`shiplog replay`: rebuild a read model from the log beside the live one, and put it in its place."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import msgspec
import rich_click as click
import uvloop
from asyncpg import Pool, Record
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

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
from services.resources import open_pool, sealing_of
from services.settings import Settings

# A range is a transaction of its own; it may take its time, and memory for its groups.
_PATIENT = {"statement_timeout": "10min", "lock_timeout": "60s", "work_mem": "128MB"}
_LOOK_SECONDS, _LOOKS_A_LINE = 0.2, 25

T = TypeVar("T")


class Replayed(Struct, frozen=True):
    """``equal``: the rebuilt version is the same as the one it was to replace."""

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
    "--accept", metavar="REASON", help="Cut over although rows differ. The reason goes into the log."
)
@click.option(
    "--from",
    "source",
    type=click.Choice(["postgres", "segments"]),
    default="postgres",
    show_default=True,
    help="Where sealed history is read; what is not sealed is always Postgres'.",
)
@click.option("--hold", is_flag=True, help="Compare, but do not cut over yet.")
@click.option(
    "--roll-back", "wanted", flag_value="roll-back", help="Put the version before the last cut-over back."
)
@click.option("--cancel", "wanted", flag_value="cancel", help="Give up the replay that is under way.")
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
    """Rebuild PROJECTION while the live one goes on serving; if both are equal, it takes its place.

    A replay that was stopped goes on from where it was. Exit status 1 when rows differ: they are shown, and nothing
    is changed until --accept.
    """
    with instance(data) as settings:
        try:
            live = replays.find(PROJECTIONS, projection)
            if wanted:
                click.echo(uvloop.run(_with_pool(settings, partial(_SWIFT[wanted], live=live))))
                return
            work = partial(_replay, settings=settings, live=live, accept=accept, hold=hold, source=source)
            replayed = uvloop.run(_with_pool(settings, work))
        except Rejected as rejection:
            raise click.UsageError(str(rejection)) from None
    click.echo(msgspec.json.encode(replayed) if as_json else _summary(replayed))
    sys.exit(0 if replayed.state == "cut-over" or (hold and replayed.equal) else 1)


async def _with_pool(settings: Settings, work: Callable[[Pool[Record]], Awaitable[T]]) -> T:
    async with await open_pool(settings, session=_PATIENT, size=replaying.PARALLEL + 3) as pool:
        return await work(pool)


async def _replay(
    pool: Pool[Record],
    settings: Settings,
    live: Projection,
    accept: str | None,
    *,
    hold: bool,
    source: Source,
) -> Replayed:
    mine = await replays.find_unfinished(pool, live)
    mine = mine or await replays.begin(pool, live, hold=hold, source=source)
    with suppress(replays.WrongReplayState):
        await replays.resume(pool, mine)
    store = sealing_of(settings).store if settings.segments else None
    found = await _to_the_end(pool, mine, store)
    if accept and found.state in ("equal", "different"):
        by = Author(Identity(settings, pool).pseudonym("user", b"command"), "command")
        await cut_over(pool, live, mine, Acceptance(accept, by))
        found = await replays.read_replay(pool, mine)
    return _replayed(found)


async def _to_the_end(pool: Pool[Record], id: UUID, store: Store | None) -> Replay:
    """Here, or in the worker that was quicker to take it. Stopped, it waits to be called again."""
    showing = asyncio.create_task(_show(pool, id))
    try:
        while (found := await replaying.run(pool, PROJECTIONS, id, store)).is_active:
            await asyncio.sleep(_LOOK_SECONDS)
        return found
    except asyncio.CancelledError:
        with suppress(replays.WrongReplayState):
            await replays.pause(pool, id)
        click.echo("Stopped. Call the same again to go on, or with --cancel to give it up.", err=True)
        raise
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)


async def _show(pool: Pool[Record], id: UUID) -> None:
    """A bar on a terminal, else a line now and then."""
    console = Console(stderr=True)
    rate = TextColumn("{task.completed:,.0f} events, {task.fields[rate]:,.0f} a second")
    columns = (BarColumn(), TaskProgressColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None, rate=0.0)
        for look in count():
            now = await replays.read_replay(pool, id)
            progress.update(task, total=now.total or None, completed=now.done, rate=now.rate)
            if not console.is_terminal and look % _LOOKS_A_LINE == _LOOKS_A_LINE - 1:
                click.echo(f"{now.done:,} of {now.total:,} events, {now.rate:,.0f} a second", err=True)
            await asyncio.sleep(_LOOK_SECONDS)


async def _roll_back(pool: Pool[Record], live: Projection) -> str:
    await roll_back(pool, live)
    return f"{live.name} is the version from before the last cut-over again"


async def _cancel(pool: Pool[Record], live: Projection) -> str:
    under_way = await replays.find_unfinished(pool, live)
    if under_way is None:
        return f"no replay of {live.name} is under way"
    await replays.cancel(pool, PROJECTIONS, under_way)
    return f"the replay of {live.name} is cancelled; the live one was never touched"


_SWIFT = {"roll-back": _roll_back, "cancel": _cancel}


def _replayed(found: Replay) -> Replayed:
    seconds = ((found.ended_at or datetime.now(UTC)) - found.started_at).total_seconds()
    equal = None if found.drift is None else found.drift == 0
    return Replayed(
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


def _summary(replayed: Replayed) -> str:
    told = f"{replayed.projection}: {replayed.events:,} events in {replayed.seconds:,.1f} s, {replayed.rate:,.0f} a second"
    if replayed.equal is None:
        return f"{told}; {replayed.state}"
    verdict = "equal to the live one" if replayed.equal else f"{replayed.drift:,} rows differ"
    rows = "".join(f"\n    {row}" for row in replayed.rows)
    return f"{told}; digest {replayed.digest} at {replayed.position}, {verdict}; {replayed.state}{rows}"
