"""Wake-ups over Redis: the API tells workers which shard moved, workers tell API processes. Only hints: readers poll as well."""

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

_DEBOUNCE_SECONDS = 0.05  # wake-ups of one shard within this time become one job
_JOB_TTL_MS = 60_000  # long before, the sweep has done the work of a job that no worker took
_TIMEOUT_SECONDS = 1.0  # of any call to Redis
_POLL_SECONDS = 0.5  # after this long without a message, listeners get a hint anyway
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


class Wakeups:
    """Wake workers and announce progress over Redis, if there is one. No call raises: the sweep makes up for a lost hint."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._queue: ArqRedis | None = None
        self._moved: dict[Shard, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def wake(self, shard: Shard) -> None:
        """Tell the workers that a shard has moved. Returns at once."""
        if self._url is None:
            return
        if shard not in self._moved:
            self._moved[shard] = asyncio.Event()
            self._tasks.append(
                asyncio.create_task(self._enqueue_when_moved(shard, self._moved[shard]), name=f"wake {shard}")
            )
        self._moved[shard].set()

    async def wake_now(self, shard: Shard) -> None:
        """Like ``wake``, for a process that is about to end: returns once Redis has the job, or has failed."""
        await self._try("wake", lambda queue: _enqueue(queue, shard))

    async def announce(self, shard: Shard, position: int) -> None:
        """Tell the API processes that read models have moved."""
        message = msgspec.json.encode({"shard": shard, "position": position})
        await self._try("announce", lambda queue: queue.publish(CHANNEL, message))

    async def listen(self) -> AsyncIterator[None]:
        """Yields whenever read models may have moved: at each announcement, and every half second without one."""
        while True:
            try:
                async with (await self._connected()).pubsub() as subscription:
                    await subscription.subscribe(CHANNEL)
                    async for hint in _hints(subscription):
                        yield hint
            except (RedisError, OSError, TimeoutError):
                await self._disconnect()
                await asyncio.sleep(_POLL_SECONDS)
                yield

    async def is_up(self) -> bool:
        """Whether Redis answers now."""
        return await self._try("ping", lambda queue: queue.ping(), backoff=0.0) is not None

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._disconnect()

    async def _enqueue_when_moved(self, shard: Shard, moved: asyncio.Event) -> None:
        """At most one job per shard is queued: while one is queued or running, try again after the debounce time."""
        while True:
            await moved.wait()
            moved.clear()
            while not await self._try("wake", lambda queue: _enqueue(queue, shard), default=True):
                await asyncio.sleep(_DEBOUNCE_SECONDS)
            await asyncio.sleep(_DEBOUNCE_SECONDS)

    async def _try(
        self,
        operation: str,
        call: Callable[[ArqRedis], Awaitable[Any]],
        default: object = None,
        backoff: float = _POLL_SECONDS,
    ) -> object:
        """The result of the call. After a failure: ``default``, once ``backoff`` seconds have passed."""
        if self._url is None:
            return default
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return cast(object, await call(await self._connected()))
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("Redis call failed", operation=operation, error=str(error))
            await self._disconnect()
            await asyncio.sleep(backoff)
            return default

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
    """False while a job of this shard exists. Does what arq's ``enqueue_job`` does, in one round trip instead of three."""
    job, now = f"project:{shard}", timestamp_ms()
    payload = serialize_job("project", (int(shard),), {}, None, now, serializer=encode_job)
    async with queue.pipeline(transaction=True) as pipeline:
        pipeline.set(job_key_prefix + job, payload, nx=True, px=_JOB_TTL_MS)
        pipeline.zadd(QUEUE, {job: now}, nx=True)
        created, _ = await pipeline.execute()
    return bool(created)


async def _hints(subscription: PubSub) -> AsyncIterator[None]:
    while True:
        await subscription.get_message(ignore_subscribe_messages=True, timeout=_POLL_SECONDS)
        yield
