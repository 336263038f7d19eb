"""Startup of an API process: opens everything its requests share, and closes it at shutdown."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

from asyncpg import Pool, Record

from domain.shared.log import Shard
from domain.voting.votes import Outcome
from eventstore import deadlines
from eventstore.appender import Appenders
from eventstore.casts import CastResult
from eventstore.heads import count_shards
from eventstore.history import has_sample_votes
from eventstore.recent_ids import RecentIds
from eventstore.tool_directory import ToolDirectory
from projections.engine.lag import read_lag
from services.api.http.app_state import AppState
from services.api.http.broadcast import Broadcast
from services.api.http.metrics import WAITING, observe_commit
from services.api.http.overload.bulk_slots import BulkSlots
from services.api.http.overload.rate_limiter import RateLimiter
from services.api.http.readiness import ReadModelProgress
from services.api.views.tallies import read_tallies_by_slug
from services.auth.devices import KnownDevices
from services.auth.identity import Identity
from services.ingest.bulk import BulkCommits, BulkIngest
from services.ingest.yielding import EventLoopTurns
from services.resources import POSTGRES_UNAVAILABLE, open_pool
from services.settings import Settings
from services.wakeups import Wakeups
from services.webhooks.secrets import WebhookSecrets

# Per process. Single votes have the rest of the pool's connections.
_BULK_COMMITS_MAX = 3
_BULK_BAD_LINES_MAX = 10_000  # of one request
_DIRECTORY_SECONDS = 0.5  # the longest time a tool that was retired through another process takes votes here
_CLOSE_SECONDS = 1.0
_PROGRESS_SECONDS = 5.0
_QUEUE_SECONDS = 0.5


@asynccontextmanager
async def open_app_state(settings: Settings) -> AsyncIterator[AppState]:
    pool, wakeups = await open_pool(settings, seconds=deadlines.USE_SECONDS_MAX), Wakeups(settings.redis_url)
    shards, tool_directory, identity = await count_shards(pool), ToolDirectory(pool), Identity(settings, pool)
    shows_sample, rate_limiter = await has_sample_votes(pool), await RateLimiter(settings).open()
    on_committed, on_appended = _commit_hooks(wakeups)
    recent_ids = RecentIds()
    appenders = Appenders(
        pool,
        shards,
        on_appended,
        recent_ids,
        queue_max=settings.queue_per_shard,
        batch_max=settings.group,
        timeout_seconds=deadlines.USE_SECONDS_MAX,
    )
    commits = BulkCommits(
        pool,
        shards,
        _BULK_COMMITS_MAX,
        on_committed,
        seconds=deadlines.USE_SECONDS_MAX,
        turns=EventLoopTurns(lambda: appenders.queued),
    )
    broadcast = Broadcast(partial(read_tallies_by_slug, pool), wakeups, settings.connections // 2)

    open_bulk_ingest = partial(
        _open_bulk_ingest, commits, tool_directory, identity, recent_ids, settings.bulk_group
    )
    progress = ReadModelProgress()
    background = [
        asyncio.create_task(work)
        for work in (
            _keep_fresh(tool_directory),
            _watch_read_models(pool, progress),
            _measure_queue(appenders),
        )
    ]
    try:
        yield AppState(
            pool=pool,
            shards=shards,
            tool_directory=tool_directory,
            identity=identity,
            devices=KnownDevices(settings),
            wakeups=wakeups,
            appenders=appenders,
            broadcast=broadcast,
            rate_limiter=rate_limiter,
            bulk_slots=BulkSlots(),
            open_bulk_ingest=open_bulk_ingest,
            webhook_secrets=WebhookSecrets(settings),
            webhook_networks=settings.webhook_networks,
            public_address=settings.public_address,
            installation=settings.installation,
            is_direct=not settings.trusted_proxies and settings.public_address is None,
            progress=progress,
            shows_sample=shows_sample,
        )
    finally:
        for task in background:
            task.cancel()
        await _close(broadcast, appenders, wakeups, rate_limiter, pool)


async def _close(*resources: Broadcast | Appenders | Wakeups | RateLimiter | Pool[Record]) -> None:
    for resource in resources:
        with suppress(TimeoutError):  # while Postgres does not answer, its connections are cut
            await asyncio.wait_for(resource.close(), _CLOSE_SECONDS)


def _open_bulk_ingest(
    commits: BulkCommits,
    tool_directory: ToolDirectory,
    identity: Identity,
    recent_ids: RecentIds,
    group: int,
    source: str,
) -> BulkIngest:
    return BulkIngest(
        commits,
        tool_directory,
        identity,
        source=source,
        group=group,
        recent_ids=recent_ids,
        rejected_max=_BULK_BAD_LINES_MAX,
    )


def _commit_hooks(
    wakeups: Wakeups,
) -> tuple[Callable[[Shard, Counter[Outcome]], None], Callable[[Shard, Sequence[CastResult]], None]]:
    """After a commit, of a bulk batch and of a group of single votes: wake the workers and count the outcomes."""

    def on_committed(shard: Shard, outcomes: Counter[Outcome]) -> None:
        wakeups.wake(shard)
        observe_commit(outcomes)

    def on_appended(shard: Shard, results: Sequence[CastResult]) -> None:
        on_committed(shard, Counter(result.outcome for result in results))

    return on_committed, on_appended


async def _watch_read_models(pool: Pool[Record], progress: ReadModelProgress) -> None:
    while True:
        await asyncio.sleep(_PROGRESS_SECONDS)
        with suppress(*POSTGRES_UNAVAILABLE):
            progress.observe(await read_lag(pool))


async def _measure_queue(appenders: Appenders) -> None:
    while True:
        WAITING.set(appenders.queued)
        await asyncio.sleep(_QUEUE_SECONDS)


async def _keep_fresh(tool_directory: ToolDirectory) -> None:
    while True:
        await asyncio.sleep(_DIRECTORY_SECONDS)
        # While the database is away, requests report the error.
        with suppress(*POSTGRES_UNAVAILABLE):
            await tool_directory.refresh()
