"""Wakeups and the worker: a wake is soon, and whatever a lost wake meant is found by looking again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import cast

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from domain.shared.log import Shard
from projections.engine.advance import behind
from services.embedded.valkey import Valkey
from services.settings import Settings
from services.wakeups import Wakeups
from services.workers.jobs import Context, project, sweep
from services.workers.run import _context, _work
from tests.integration.projections.test_advance import SHARD, cast_votes, tally
from tests.support.stage import Log, catch_up

PATIENCE_SECONDS = 20  # a hang, not a slow machine


@asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[Context]:
    async with _context(settings) as ctx:
        working = asyncio.create_task(_work(ctx, settings.redis_url))
        try:
            yield ctx
        finally:
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey.url()) as redis:
        await redis.flushall()
        yield redis
        await redis.flushall()


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if await true():
                return
            await asyncio.sleep(0.01)


async def until_folded(log: Log) -> None:
    async def folded() -> bool:
        return await behind(log) == []

    await until(folded)


@pytest.mark.usefixtures("redis")
async def test_a_wake_makes_a_worker_advance(settings: Settings, pool: Log, valkey: Valkey) -> None:
    settings = replace(settings, redis_url=valkey.url())
    wakeups = Wakeups(settings.redis_url)
    async with worker(settings):
        await cast_votes(pool, 3)
        wakeups.wake(SHARD)
        await until_folded(pool)
    await wakeups.close()
    assert await tally(pool) == (3, 0)


async def test_a_wake_leaves_one_job_for_its_shard(settings: Settings, valkey: Valkey, redis: Redis) -> None:
    wakeups = Wakeups(valkey.url())
    for _ in range(50):
        wakeups.wake(SHARD)
        wakeups.wake(Shard(2))

    async def queued() -> bool:
        return cast(int, await redis.zcard("shiplog:jobs")) == 2

    await until(queued)
    await wakeups.close()
    assert await redis.zcard("shiplog:jobs") == 2


async def test_without_redis_the_sweep_advances(settings: Settings, pool: Log) -> None:
    async with worker(settings):
        await cast_votes(pool, 3)
        await until_folded(pool)
    assert await tally(pool) == (3, 0)


async def test_a_redis_that_is_not_there_does_not_stop_the_sweep(settings: Settings, pool: Log) -> None:
    async with worker(replace(settings, redis_url="redis://127.0.0.1:1/0")):
        await cast_votes(pool, 3)
        await until_folded(pool)
    assert await tally(pool) == (3, 0)


async def test_emptying_redis_loses_nothing(
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
async def test_an_announcement_is_heard(valkey: Valkey) -> None:
    speaking, hearing = Wakeups(valkey.url()), Wakeups(valkey.url())
    heard = hearing.listen()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await speaking.announce(SHARD, 5)
        await anext(heard)
    await heard.aclose()  # type: ignore[attr-defined]
    await speaking.close()
    await hearing.close()


@pytest.mark.parametrize("url", [None, "redis://127.0.0.1:1/0"])
async def test_without_redis_there_are_hints_to_look_all_the_same(url: str | None) -> None:
    wakeups = Wakeups(url)
    heard = wakeups.listen()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await anext(heard)
    await heard.aclose()  # type: ignore[attr-defined]
    await wakeups.close()


@pytest.mark.parametrize("url", [None, "redis://127.0.0.1:1/0"])
async def test_no_signal_raises_or_waits(url: str | None) -> None:
    wakeups = Wakeups(url)
    wakeups.wake(SHARD)
    await wakeups.announce(SHARD, 1)
    assert not await wakeups.is_up()
    await wakeups.close()


class _Chased(Wakeups):
    """With each announcement more votes are there."""

    def __init__(self, pool: Log) -> None:
        super().__init__(None)
        self._pool = pool

    async def announce(self, shard: Shard, position: int) -> None:
        await cast_votes(self._pool, 3)


async def test_a_job_ends_at_the_head_that_it_found(settings: Settings, pool: Log) -> None:
    """A head that is always ahead is not chased: who moved it knocks again."""
    ctx = Context(pool=pool, wakeups=_Chased(pool))
    await cast_votes(pool, 5)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await project(ctx, SHARD) == 5
        assert await project(ctx, SHARD) == 3


async def test_a_job_folds_all_there_is_and_says_how_much(settings: Settings, pool: Log) -> None:
    ctx = Context(pool=pool, wakeups=Wakeups(None))
    await cast_votes(pool, 5)
    await cast_votes(pool, 4, shard=Shard(2))
    assert await project(ctx, SHARD) == 5
    assert await project(ctx, SHARD) == 0
    assert await sweep(ctx) == 4
    assert await sweep(ctx) == 0
    await catch_up(pool)
    assert await tally(pool) == (9, 0)
