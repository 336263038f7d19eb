"""One import: from a history's lines to the log, with the names and partitions that it needs on its way."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

import rich_click as click
from asyncpg import InterfaceError, Pool, PostgresError, Record

from domain.shared.log import Shard
from eventstore.heads import count_shards, extend_events
from eventstore.ids import ids_at
from eventstore.tool_directory import Names
from services.auth.identity import Identity
from services.cli.importing.history import History
from services.cli.importing.progress import Show
from services.ingest.bulk import Answered, Commits, Intake
from services.ingest.decompression import Damaged
from services.ingest.ndjson_votes import BadLine
from services.logs import configure_logs
from services.resources import open_pool
from services.settings import Settings
from services.wakeups import Signals

ORIGIN = "import"
COMMITS = 3  # in flight: one waits for the disk while two have a core each
_PATIENT = {"statement_timeout": "60s", "lock_timeout": "60s"}
_TENDED = 200_000  # lines; the partition that is kept ahead of every head has room for millions

Ended = Literal["complete", "stopped", "damaged"]
Reject: TypeAlias = Callable[[Sequence[BadLine]], None]


class Lost(click.ClickException):
    """The database went away."""

    exit_code = 2


async def run(
    settings: Settings, history: History, moment: int, reject: Reject, show: Show
) -> tuple[Answered, Ended]:
    """Import all of it, or as far as it comes. ``moment`` is the time, in milliseconds, of lines without an id."""
    configure_logs()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    async with await open_pool(settings, session=_PATIENT, size=COMMITS + 1) as pool:
        moved: set[Shard] = set()
        commits = Commits(pool, await count_shards(pool), COMMITS, lambda shard, _: moved.add(shard))
        names, identity = Names(pool), Identity(settings, pool)
        intake = Intake(
            commits, names, identity, origin=ORIGIN, group=settings.bulk_group, line_id=ids_at(moment)
        )
        try:
            with _stopping(history):
                ended = await _take_all(pool, names, history, intake, reject, show)
        except (PostgresError, InterfaceError, OSError, TimeoutError) as error:
            raise Lost(
                f"{error}. It happened near line {intake.answered.received:,}. Import the same again: what is "
                "stored already changes nothing."
            ) from error
        finally:
            intake.abandon()
            await _wake(settings, moved)
    return intake.answered, ended


async def _take_all(
    pool: Pool[Record], names: Names, history: History, intake: Intake, reject: Reject, show: Show
) -> Ended:
    ended: Ended = "complete"
    tended = -_TENDED
    try:
        async for block in history.blocks():
            if intake.answered.received >= tended + _TENDED:
                tended = intake.answered.received
                await names.refresh()
                await extend_events(pool)
            reject(await intake.take(block))
            show(history.read, intake.answered.received)
    except Damaged:
        ended = "damaged"
    await intake.finish()
    return "stopped" if history.stopped_by else ended


@contextmanager
def _stopping(history: History) -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the reading; the second ends it all."""
    loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)

    def stop(number: signal.Signals) -> None:
        history.stop(number)
        restore()

    def restore() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)

    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        restore()


async def _wake(settings: Settings, moved: set[Shard]) -> None:
    """Workers look once a second anyway."""
    signals = Signals(settings.redis_url)
    await asyncio.gather(*map(signals.wake_now, moved))
    await signals.close()
