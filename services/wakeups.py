"""Signals: the only wire between API and workers. Hints, all of them: whatever is lost is found by looking again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import msgspec
import structlog
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.constants import job_key_prefix
from arq.jobs import serialize_job
from arq.utils import timestamp_ms
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from domain.shared.log import Shard

QUEUE = "shiplog:jobs"
CHANNEL = "shiplog:advanced"

_WINDOW_SECONDS = 0.05  # wakes of one shard within this time are one job
_KEPT_MS = 60_000  # a job that no worker took is found by the sweep long before
_PATIENCE_SECONDS = 1.0  # no call to Redis may take longer
_SILENCE_SECONDS = 0.5  # hearing nothing for this long is a hint to look, too
_log = structlog.get_logger()

encode_job = msgspec.msgpack.encode
decode_job = msgspec.msgpack.decode


def redis_settings(url: str) -> RedisSettings:
    settings = RedisSettings.from_dsn(url)
    settings.conn_timeout = 1
    settings.conn_retries = 0
    return settings


async def open_queue(url: str) -> ArqRedis:
    """arq's client, with payloads as msgpack rather than pickles."""
    return await create_pool(
        redis_settings(url), job_serializer=encode_job, job_deserializer=decode_job, default_queue_name=QUEUE
    )


class Signals:
    """Wake and announce over Redis, when there is one. No call raises: the sweep finds what a lost hint meant."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._queue: ArqRedis | None = None
        self._lanes: dict[Shard, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def wake(self, shard: Shard) -> None:
        """Tell the workers that a shard has moved. Returns at once."""
        if self._url is None:
            return
        if shard not in self._lanes:
            self._lanes[shard] = asyncio.Event()
            self._tasks.append(
                asyncio.create_task(self._keep_waking(shard, self._lanes[shard]), name=f"wake {shard}")
            )
        self._lanes[shard].set()

    async def wake_now(self, shard: Shard) -> None:
        """The same, for who is about to end: returns when it is told."""
        await self._try("wake", lambda queue: _enqueue(queue, shard))

    async def announce(self, shard: Shard, position: int) -> None:
        """Tell the API processes that read models have moved."""
        message = msgspec.json.encode({"shard": shard, "position": position})
        await self._try("announce", lambda queue: queue.publish(CHANNEL, message))

    async def listen(self) -> AsyncIterator[None]:
        """A hint whenever read models may have moved: at each announcement, and after each short silence."""
        while True:
            try:
                async with (await self._connected()).pubsub() as heard:
                    await heard.subscribe(CHANNEL)
                    async for hint in _hints(heard):
                        yield hint
            except (RedisError, OSError, TimeoutError):
                await self._disconnect()
                await asyncio.sleep(_SILENCE_SECONDS)
                yield

    async def is_up(self) -> bool:
        """Whether Redis answers now."""
        return await self._try("ping", lambda queue: queue.ping(), rest=0.0) is not None

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._disconnect()

    async def _keep_waking(self, shard: Shard, moved: asyncio.Event) -> None:
        """One job per shard at a time: while one is queued or about to end, knock again."""
        while True:
            await moved.wait()
            moved.clear()
            while not await self._try("wake", lambda queue: _enqueue(queue, shard), failed=True):
                await asyncio.sleep(_WINDOW_SECONDS)
            await asyncio.sleep(_WINDOW_SECONDS)

    async def _try(
        self,
        what: str,
        call: Callable[[ArqRedis], Awaitable[Any]],
        failed: object = None,
        rest: float = _SILENCE_SECONDS,
    ) -> object:
        """What the call gives, or ``failed``; after a failure Redis is left alone for a moment."""
        if self._url is None:
            return failed
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return cast(object, await call(await self._connected()))
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("redis did not take a hint", what=what, error=str(error))
            await self._disconnect()
            await asyncio.sleep(rest)
            return failed

    async def _connected(self) -> ArqRedis:
        if self._url is None:
            raise OSError("no Redis is configured")
        if self._queue is None:
            self._queue = await open_queue(self._url)
        return self._queue

    async def _disconnect(self) -> None:
        queue, self._queue = self._queue, None
        if queue is not None:
            await asyncio.gather(queue.aclose(), return_exceptions=True)


async def _enqueue(queue: ArqRedis, shard: Shard) -> bool:
    """False while a job of this shard is still known. As ``enqueue_job`` does it, in one round trip for its three."""
    job, now = f"project:{shard}", timestamp_ms()
    payload = serialize_job("project", (int(shard),), {}, None, now, serializer=encode_job)
    async with queue.pipeline(transaction=True) as together:
        together.set(job_key_prefix + job, payload, nx=True, px=_KEPT_MS)
        together.zadd(QUEUE, {job: now}, nx=True)
        fresh, _ = await together.execute()
    return bool(fresh)


async def _hints(heard: PubSub) -> AsyncIterator[None]:
    while True:
        await heard.get_message(ignore_subscribe_messages=True, timeout=_SILENCE_SECONDS)
        yield
