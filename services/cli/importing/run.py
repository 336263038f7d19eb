"""One import: append the lines of a history to the log, keeping the tool directory and the partitions up to date."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

import rich_click as click
from asyncpg import Pool, Record
from msgspec import Struct

from domain.shared.log import Shard
from eventstore.heads import count_shards, extend_events
from eventstore.ids import ids_at
from eventstore.tool_directory import ToolDirectory
from services.auth.identity import Identity
from services.cli.importing.history import History
from services.ingest.bulk import BulkCommits, BulkIngest, BulkResult
from services.ingest.decompression import CorruptData
from services.ingest.ndjson_votes import BadLine
from services.logs import configure_logs
from services.resources import POSTGRES_UNAVAILABLE, open_pool
from services.settings import Settings
from services.wakeups import Wakeups

ORIGIN = "import"
COMMITS = 3  # in flight: one waits for the disk while two use a core each
_SESSION = {"statement_timeout": "60s", "lock_timeout": "60s"}
_REFRESH_LINES = 200_000  # the partition ahead of each head has room for millions

ImportEnd = Literal["complete", "stopped", "damaged"]
Reject: TypeAlias = Callable[[Sequence[BadLine]], None]
# Called with the number of lines read so far.
ReportProgress: TypeAlias = Callable[[int], None]


class DatabaseLost(click.ClickException):
    """Postgres became unavailable during an import."""

    exit_code = 2


class ImportOutcome(Struct, frozen=True):
    """``lines`` counts those read, blank ones too; ``resent`` the votes of ``result.counted`` that were stored before."""

    result: BulkResult
    ended: ImportEnd
    lines: int
    resent: int


async def run(
    settings: Settings, history: History, moment: int, reject: Reject, report: ReportProgress
) -> ImportOutcome:
    """Import a history until it ends or is stopped. ``moment``: time of lines without an id, in milliseconds since 1970."""
    configure_logs()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    async with await open_pool(settings, session=_SESSION, size=COMMITS + 1) as pool:
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
            with _stop_on_signal(history):
                ended = await _ingest_all(pool, tool_directory, history, ingest, reject, report)
        except POSTGRES_UNAVAILABLE as error:
            raise DatabaseLost(
                f"The database stopped answering near line {ingest.lines_read:,}: {str(error) or 'it took too long'}. "
                "Import the same input again to resume: lines that are stored already change nothing."
            ) from error
        finally:
            ingest.abandon()
            await _wake(settings, moved)
    return ImportOutcome(ingest.result, ended, ingest.lines_read, ingest.resent)


async def _ingest_all(
    pool: Pool[Record],
    tool_directory: ToolDirectory,
    history: History,
    ingest: BulkIngest,
    reject: Reject,
    report: ReportProgress,
) -> ImportEnd:
    ended: ImportEnd = "complete"
    refreshed_at = -_REFRESH_LINES
    try:
        async for block in history.blocks():
            if ingest.lines_read >= refreshed_at + _REFRESH_LINES:
                refreshed_at = ingest.lines_read
                await tool_directory.refresh()
                ingest.forget_rejected_tools()
                await extend_events(pool)
            reject(await ingest.submit(block))
            report(ingest.lines_read)
    except CorruptData:
        ended = "damaged"
    await ingest.finish()
    reject(ingest.take_conflicts())
    return "stopped" if history.stopped_by else ended


@contextmanager
def _stop_on_signal(history: History) -> Iterator[None]:
    """The first SIGINT or SIGTERM stops reading and commits what was read; the second ends the process."""
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
    """Wake the workers, so that read models follow at once; the sweep would take up to a second."""
    wakeups = Wakeups(settings.redis_url)
    await asyncio.gather(*map(wakeups.wake_now, moved))
    await wakeups.close()
