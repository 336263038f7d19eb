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
from eventstore.tool_directory import ToolDirectory
from services.auth.identity import Identity
from services.cli.importing.history import History
from services.cli.importing.progress import Show
from services.ingest.bulk import BulkCommits, BulkIngest, BulkResult
from services.ingest.decompression import Damaged
from services.ingest.ndjson_votes import BadLine
from services.logs import configure_logs
from services.resources import open_pool
from services.settings import Settings
from services.wakeups import Wakeups

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
) -> tuple[BulkResult, Ended]:
    """Import all of it, or as far as it comes. ``moment`` is the time, in milliseconds, of lines without an id."""
    configure_logs()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    async with await open_pool(settings, session=_PATIENT, size=COMMITS + 1) as pool:
        moved: set[Shard] = set()
        commits = BulkCommits(pool, await count_shards(pool), COMMITS, lambda shard, _: moved.add(shard))
        tool_directory, identity = ToolDirectory(pool), Identity(settings, pool)
        ingest = BulkIngest(
            commits,
            tool_directory,
            identity,
            source=ORIGIN,
            group=settings.bulk_group,
            line_id=ids_at(moment),
        )
        try:
            with _stopping(history):
                ended = await _take_all(pool, tool_directory, history, ingest, reject, show)
        except (PostgresError, InterfaceError, OSError, TimeoutError) as error:
            raise Lost(
                f"{error}. It happened near line {ingest.result.received:,}. Import the same again: what is "
                "stored already changes nothing."
            ) from error
        finally:
            ingest.abandon()
            await _wake(settings, moved)
    return ingest.result, ended


async def _take_all(
    pool: Pool[Record],
    tool_directory: ToolDirectory,
    history: History,
    ingest: BulkIngest,
    reject: Reject,
    show: Show,
) -> Ended:
    ended: Ended = "complete"
    tended = -_TENDED
    try:
        async for block in history.blocks():
            if ingest.result.received >= tended + _TENDED:
                tended = ingest.result.received
                await tool_directory.refresh()
                await extend_events(pool)
            reject(await ingest.submit(block))
            show(history.read, ingest.result.received)
    except Damaged:
        ended = "damaged"
    await ingest.finish()
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
    wakeups = Wakeups(settings.redis_url)
    await asyncio.gather(*map(wakeups.wake_now, moved))
    await wakeups.close()
