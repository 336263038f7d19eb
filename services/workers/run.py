"""The worker process: arq while Redis answers, the sweep alone while it does not; and what is done by the minute."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import cast

import structlog
from arq import cron, func
from arq.typing import WorkerCoroutine
from arq.worker import Worker
from redis.exceptions import RedisError

from eventstore.sealed.duck import is_installed
from services.logs import configure_logs
from services.resources import Sealing, open_pool, sealing_of
from services.settings import Settings
from services.wakeups import QUEUE, Wakeups, decode_job, encode_job, redis_settings
from services.webhooks.sending import open_sender
from services.workers.jobs import (
    Context,
    extend,
    flip,
    project,
    recount,
    replay,
    schedule,
    seal,
    sweep,
    take_effect,
)
from services.workers.trials import try_out
from services.workers.webhooks import forget, send_due, tell_flips

_SWEEP_SECONDS = 1.0
_MINUTE_SECONDS = 60.0
_HOUR_SECONDS = 3_600.0
# For new flips and what is to be told of them; for replays, trials and deliveries that were asked for, or left behind by a
# process that died; for an adoption that is due.
_LOOK_SECONDS = 0.5
_SENDERS = 4  # webhooks that may be slow at the same time without keeping others waiting
# A fold may take longer than an answer, and holds its range in memory. It reads by key alone: a plan made
# while the log was empty stays right when it is full.
FOLDING = {"statement_timeout": "60s", "work_mem": "64MB", "enable_seqscan": "off"}
_log = structlog.get_logger()


async def work(settings: Settings) -> None:
    """Keep the read models up with the log until SIGTERM or SIGINT; the range in hand is finished first."""
    configure_logs()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with _context(settings) as ctx:
        await extend(ctx)
        working = [
            asyncio.create_task(_work(ctx, settings.redis_url)),
            asyncio.create_task(_repeat(take_effect, ctx, _LOOK_SECONDS)),
            asyncio.create_task(_repeat(flip, ctx, _LOOK_SECONDS)),
            asyncio.create_task(_repeat(replay, ctx, _LOOK_SECONDS)),
            asyncio.create_task(_repeat(try_out, ctx, _LOOK_SECONDS)),
            asyncio.create_task(_repeat(schedule, ctx, _MINUTE_SECONDS)),
            asyncio.create_task(_repeat(recount, ctx, settings.recount_seconds)),
            asyncio.create_task(_repeat(extend, ctx, _MINUTE_SECONDS)),
            asyncio.create_task(_repeat(seal, ctx, _MINUTE_SECONDS)),
            asyncio.create_task(_repeat(forget, ctx, _HOUR_SECONDS)),
            asyncio.create_task(_repeat(tell_flips, ctx, _LOOK_SECONDS)),
            *(asyncio.create_task(_repeat(send_due, ctx, _LOOK_SECONDS)) for _ in range(_SENDERS)),
        ]
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([*working, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        for ended in done:
            ended.result()  # whatever ended a loop ends the process, and is told


@asynccontextmanager
async def _context(settings: Settings) -> AsyncIterator[Context]:
    pool = await open_pool(settings, session=FOLDING)
    wakeups = Wakeups(settings.redis_url)
    try:
        every = timedelta(hours=settings.replay_hours) if settings.replay_hours else None
        yield Context(
            pool=pool,
            wakeups=wakeups,
            sealing=_sealing(settings),
            replay_every=every,
            sender=open_sender(settings),
        )
    finally:
        await wakeups.close()
        await asyncio.wait_for(pool.close(), 5)


async def _repeat(job: Callable[[Context], Awaitable[object]], ctx: Context, seconds: float) -> None:
    """What takes long has a loop of its own, so that no sweep waits for it, and needs no Redis."""
    while True:
        await job(ctx)
        await asyncio.sleep(seconds)


def _sealing(settings: Settings) -> Sealing | None:
    if settings.segments is not None and not is_installed():
        _log.info("history is not sealed: pip install 'shiplog[segments]'")
    return sealing_of(settings) if settings.segments is not None and is_installed() else None


async def _work(ctx: Context, redis_url: str | None) -> None:
    while True:
        await sweep(ctx)
        if redis_url is not None:
            await _work_with_redis(ctx, redis_url)
        await asyncio.sleep(_SWEEP_SECONDS)


async def _work_with_redis(ctx: Context, redis_url: str) -> None:
    """Returns when Redis is lost."""
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
        _log.warning("working without Redis", error=str(error))
    finally:
        await asyncio.gather(worker.close(), return_exceptions=True)
