"""Wake-ups and the worker: a wake-up is prompt, and the sweep makes up for a lost one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import cast

import asyncpg
import pytest
import structlog
from msgspec.structs import replace
from redis.asyncio import Redis
from redis.exceptions import RedisError
from structlog.testing import capture_logs

from domain.shared.log import Shard
from projections.engine.advance import shards_behind
from services.embedded.valkey import Valkey
from services.settings import Settings
from services.wakeups import Wakeups
from services.workers import guard
from services.workers.jobs import Context, project, sweep
from services.workers.run import _context, _project
from tests.integration.projections.test_advance import SHARD, cast_votes, tally
from tests.support.stage import Log, catch_up

TIMEOUT_SECONDS = 20  # only a hang takes longer, also on a slow machine


@asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[Context]:
    async with _context(settings) as ctx:
        loop = asyncio.create_task(_project(ctx, settings.redis_url))
        try:
            yield ctx
        finally:
            loop.cancel()
            with suppress(asyncio.CancelledError):
                await loop


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey.url()) as redis:
        await redis.flushall()
        yield redis
        await redis.flushall()


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            if await true():
                return
            await asyncio.sleep(0.01)


async def until_folded(log: Log) -> None:
    async def folded() -> bool:
        return await shards_behind(log) == []

    await until(folded)


@pytest.mark.usefixtures("redis")
async def test_a_worker_advances_a_shard_when_it_is_woken(
    settings: Settings, pool: Log, valkey: Valkey
) -> None:
    settings = replace(settings, redis_url=valkey.url())
    wakeups = Wakeups(settings.redis_url)
    async with worker(settings):
        await cast_votes(pool, 3)
        wakeups.wake(SHARD)
        await until_folded(pool)
    await wakeups.close()
    assert await tally(pool) == (3, 0)


async def test_many_wakes_of_a_shard_queue_one_job(settings: Settings, valkey: Valkey, redis: Redis) -> None:
    wakeups = Wakeups(valkey.url())
    for _ in range(50):
        wakeups.wake(SHARD)
        wakeups.wake(Shard(2))

    async def queued() -> bool:
        return cast(int, await redis.zcard("shiplog:jobs")) == 2

    await until(queued)
    await wakeups.close()
    assert await redis.zcard("shiplog:jobs") == 2


async def test_the_sweep_advances_read_models_without_redis(settings: Settings, pool: Log) -> None:
    async with worker(settings):
        await cast_votes(pool, 3)
        await until_folded(pool)
    assert await tally(pool) == (3, 0)


async def test_the_sweep_continues_while_redis_is_unreachable(settings: Settings, pool: Log) -> None:
    async with worker(replace(settings, redis_url="redis://127.0.0.1:1/0")):
        await cast_votes(pool, 3)
        await until_folded(pool)
    assert await tally(pool) == (3, 0)


async def test_nothing_is_lost_when_redis_is_emptied(
    settings: Settings, pool: Log, valkey: Valkey, redis: Redis
) -> None:
    settings = replace(settings, redis_url=valkey.url())
    wakeups = Wakeups(settings.redis_url)
    async with worker(settings):
        for _ in range(5):
            await cast_votes(pool, 2)
            wakeups.wake(SHARD)
            await redis.flushall()
        await until_folded(pool)
    await wakeups.close()
    assert await tally(pool) == (10, 0)


@pytest.mark.usefixtures("redis")
async def test_a_listener_gets_an_announcement(valkey: Valkey) -> None:
    sender, listener = Wakeups(valkey.url()), Wakeups(valkey.url())
    hints = listener.listen()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await sender.announce(SHARD, 5)
        await anext(hints)
    await hints.aclose()  # type: ignore[attr-defined]
    await sender.close()
    await listener.close()


@pytest.mark.parametrize("url", [None, "redis://127.0.0.1:1/0"])
async def test_a_listener_gets_hints_without_redis(url: str | None) -> None:
    wakeups = Wakeups(url)
    hints = wakeups.listen()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await anext(hints)
    await hints.aclose()  # type: ignore[attr-defined]
    await wakeups.close()


@pytest.mark.parametrize("url", [None, "redis://127.0.0.1:1/0"])
async def test_no_call_raises_or_blocks_without_redis(url: str | None) -> None:
    wakeups = Wakeups(url)
    wakeups.wake(SHARD)
    await wakeups.announce(SHARD, 1)
    assert not await wakeups.is_up()
    await wakeups.close()


class _MovingHead(Wakeups):
    """Appends more votes at each announcement."""

    def __init__(self, pool: Log) -> None:
        super().__init__(None)
        self._pool = pool

    async def announce(self, shard: Shard, position: int) -> None:
        await cast_votes(self._pool, 3)


async def test_a_job_stops_at_the_head_that_it_found(settings: Settings, pool: Log) -> None:
    """The process that moved the head wakes a worker again."""
    ctx = Context(pool=pool, wakeups=_MovingHead(pool))
    await cast_votes(pool, 5)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        assert await project(ctx, SHARD) == 5
        assert await project(ctx, SHARD) == 3


async def test_jobs_fold_every_event_and_return_the_number(settings: Settings, pool: Log) -> None:
    ctx = Context(pool=pool, wakeups=Wakeups(None))
    await cast_votes(pool, 5)
    await cast_votes(pool, 4, shard=Shard(2))
    assert await project(ctx, SHARD) == 5
    assert await project(ctx, SHARD) == 0
    assert await sweep(ctx) == 4
    assert await sweep(ctx) == 0
    await catch_up(pool)
    assert await tally(pool) == (9, 0)


@pytest.mark.parametrize(
    "outage",
    [
        asyncpg.CannotConnectNowError("starting up"),
        asyncpg.InterfaceError("closed"),
        asyncpg.InternalClientError(),
        RedisError(),
    ],
    ids=lambda outage: type(outage).__name__,
)
async def test_an_outage_ends_the_run_of_a_job_and_is_logged(
    outage: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_log", structlog.get_logger())  # the module's own is cached without capturing

    @guard.survive_outages
    async def job() -> int:
        raise outage

    with capture_logs() as logs:
        assert await job() == 0
    assert [(each["job"], each["log_level"]) for each in logs] == [("job", "warning")]


async def test_any_other_error_ends_the_worker() -> None:
    @guard.survive_outages
    async def job() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await job()
