"""The worker process: arq and a sweep while Redis answers, the sweep alone while it does not, and the periodic jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, cast

import structlog
from arq import cron, func
from arq.typing import WorkerCoroutine
from arq.worker import Worker
from redis.exceptions import RedisError

from eventstore.sealed.duck import is_installed
from services.logs import configure_logs
from services.resources import Sealing, open_pool, sealing_of
from services.settings import Settings
from services.stop_signals import heeded_stop_signals
from services.wakeups import QUEUE, Wakeups, decode_job, encode_job, redis_settings
from services.webhooks.sending import open_sender
from services.workers.jobs import (
    Context,
    adopt_due,
    begin_due_replay,
    extend_partitions,
    find_flips,
    project,
    recount,
    run_replays,
    seal_due,
    sweep,
)
from services.workers.stalls import PROBE_SECONDS_MAX, abort_stalled_statements
from services.workers.trials import run_trials
from services.workers.webhooks import delete_old_deliveries, send_due, write_flip_deliveries

_SWEEP_SECONDS = 1.0
_POLL_SECONDS = 0.5  # for flips, deliveries, replays, trials and due adoptions, also those that a killed worker left behind
_MINUTE_SECONDS = 60.0
_HOUR_SECONDS = 3_600.0
_CLOSE_SECONDS = 1.0
_SENDERS = 4  # messages in flight at once, so that a slow webhook does not delay the others
# A fold may take longer than an answer, and holds its range in memory. It reads by key only: otherwise a plan made
# while the log was empty could scan a full log sequentially.
FOLDING = {"statement_timeout": "60s", "work_mem": "64MB", "enable_seqscan": "off"}
_log = structlog.get_logger()


async def work(settings: Settings) -> None:
    """Run all jobs until SIGTERM or SIGINT. The next worker repeats what a cancelled job had not committed."""
    configure_logs()
    stop = asyncio.Event()
    for number in heeded_stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with _context(settings) as ctx:
        await extend_partitions(ctx)
        loops = [asyncio.create_task(each) for each in _loops(ctx, settings)]
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([*loops, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        for ended in done:
            ended.result()  # an error that ended a loop ends the process


def _loops(ctx: Context, settings: Settings) -> list[Coroutine[Any, Any, None]]:
    """Long jobs have loops of their own, so that no sweep waits for them. None needs Redis."""
    return [
        _project(ctx, settings.redis_url),
        _repeat(adopt_due, ctx, _POLL_SECONDS),
        _repeat(find_flips, ctx, _POLL_SECONDS),
        _repeat(run_replays, ctx, _POLL_SECONDS),
        _repeat(run_trials, ctx, _POLL_SECONDS),
        _repeat(begin_due_replay, ctx, _MINUTE_SECONDS),
        _repeat(recount, ctx, settings.recount_seconds),
        _repeat(extend_partitions, ctx, _MINUTE_SECONDS),
        _repeat(seal_due, ctx, _MINUTE_SECONDS),
        _repeat(delete_old_deliveries, ctx, _HOUR_SECONDS),
        _repeat(write_flip_deliveries, ctx, _POLL_SECONDS),
        *(_repeat(send_due, ctx, _POLL_SECONDS) for _ in range(_SENDERS)),
    ]


@asynccontextmanager
async def _context(settings: Settings) -> AsyncIterator[Context]:
    pool = await open_pool(settings, session=FOLDING)
    probes = await open_pool(settings, size=1, seconds=PROBE_SECONDS_MAX)
    probing = asyncio.create_task(abort_stalled_statements(pool, probes), name="abort stalled statements")
    wakeups = Wakeups(settings.redis_url)
    try:
        every = timedelta(hours=settings.replay_hours) if settings.replay_hours else None
        yield Context(
            pool=pool,
            wakeups=wakeups,
            sealing=_sealing(settings),
            replay_every=every,
            sender=open_sender(settings),
            public_address=settings.public_address,
        )
    finally:
        probing.cancel()
        for resource in (wakeups, probes):
            await resource.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(pool.close(), _CLOSE_SECONDS)  # or else its connections are cut


async def _repeat(job: Callable[[Context], Awaitable[object]], ctx: Context, seconds: float) -> None:
    while True:
        await job(ctx)
        await asyncio.sleep(seconds)


def _sealing(settings: Settings) -> Sealing | None:
    if settings.segments is not None and not is_installed():
        _log.info("history is not sealed: DuckDB is missing; pip install 'shiplog-server[segments]'")
    return sealing_of(settings) if settings.segments is not None and is_installed() else None


async def _project(ctx: Context, redis_url: str | None) -> None:
    while True:
        await sweep(ctx)
        if redis_url is not None:
            await _project_with_redis(ctx, redis_url)
        await asyncio.sleep(_SWEEP_SECONDS)


async def _project_with_redis(ctx: Context, redis_url: str) -> None:
    """Run arq until Redis fails."""
    worker = Worker(
        functions=[func(cast(WorkerCoroutine, project), keep_result=0, max_tries=1, timeout=20)],
        cron_jobs=[
            cron(cast(WorkerCoroutine, sweep), second=set(range(60)), keep_result=0, timeout=20),
        ],
        queue_name=QUEUE,
        redis_settings=redis_settings(redis_url),
        ctx=dict(ctx),
        poll_delay=0.02,
        health_check_interval=5,
        handle_signals=False,
        job_serializer=encode_job,
        job_deserializer=decode_job,
    )
    try:
        await worker.async_run()
    except (RedisError, OSError, TimeoutError) as error:
        _log.warning("Redis is unavailable; sweeping without it", error=str(error))
    finally:
        await asyncio.gather(worker.close(), return_exceptions=True)
