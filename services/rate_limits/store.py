"""The state of rate limits: in Redis for all processes together, or in this process while Redis is unavailable."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from services.rate_limits.gcra import CLOCK, RULE, Decision, Limit, decide

_POLL_SECONDS, _POLLS = 0.001, 10  # for a decision of Redis
_RECONNECT_SECONDS = 0.5
_CONNECT_SECONDS = 1.0
_PIPELINED_MAX = 50  # decisions in one round trip
_SUBJECTS_MAX = 10_000  # limited by this process: about 2 MB
# uvloop raises RuntimeError when the transport is closed.
_UNAVAILABLE = (RedisError, OSError, TimeoutError, RuntimeError)
_log = structlog.get_logger()


class RateLimitStore:
    """Decides in Redis if it is available, else in this process. No call raises or waits for long."""

    def __init__(self, url: str | None) -> None:
        self._redis = _RedisLimits(url) if url else None
        self._local = LocalLimits()

    async def open(self) -> None:
        """Returns after the first attempt to connect to Redis."""
        if self._redis is not None:
            await self._redis.open()

    async def admit(self, limit: Limit, subject: str, cost: int = 1) -> Decision:
        key = f"shiplog:limit:{limit.name}:{subject}"
        decision = await self._redis.decide(key, limit, cost) if self._redis else None
        if decision is None:
            return self._local.admit(key, limit, _now(), cost)
        self._local.remember(key, _now() + decision.debt)
        return decision

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.close()


class LocalLimits:
    """Limits by this process alone. Above ``subjects_max`` subjects, the least recently used are evicted."""

    def __init__(self, subjects_max: int = _SUBJECTS_MAX) -> None:
        self._subjects_max = subjects_max
        self._due: OrderedDict[str, int] = OrderedDict()

    def admit(self, key: str, limit: Limit, now: int, cost: int = 1) -> Decision:
        decision = decide(limit, self._due.get(key, 0), now, cost)
        self.remember(key, now + decision.debt)
        return decision

    def remember(self, key: str, due: int) -> None:
        """Decisions of Redis are remembered too, so that limits continue when Redis becomes unavailable."""
        self._due[key] = due
        self._due.move_to_end(key)
        if len(self._due) > self._subjects_max:
            self._due.popitem(last=False)

    def __len__(self) -> int:
        return len(self._due)


class _PendingDecision(Struct, frozen=True, eq=False):
    arguments: tuple[str | int, ...]
    decision: asyncio.Future[Decision | None]


class _RedisLimits:
    """Decides in Redis over one connection. Requests that come during a round trip share the next one."""

    def __init__(self, url: str) -> None:
        self._redis: Redis = Redis.from_url(
            url, socket_connect_timeout=_CONNECT_SECONDS, socket_keepalive=True
        )
        self._pending: list[_PendingDecision] = []
        self._arrived, self._tried = asyncio.Event(), asyncio.Event()
        self._connected, self._sha = False, ""
        self._running: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._running = asyncio.create_task(self._run(), name="rate limits")
        await self._tried.wait()

    async def decide(self, key: str, limit: Limit, cost: int) -> Decision | None:
        """None if Redis is unavailable, or did not decide in time."""
        if not self._connected:
            return None
        decision: asyncio.Future[Decision | None] = asyncio.get_running_loop().create_future()
        self._pending.append(_PendingDecision((1, key, limit.interval, limit.burst, cost), decision))
        self._arrived.set()
        return await decision

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        """Connect and decide; after a failure, reconnect. No request waits for a connection."""
        while True:
            try:
                await self._connect()
                await self._decide_pending()
            except _UNAVAILABLE as error:
                if self._connected or not self._tried.is_set():
                    _log.warning(
                        "redis is unavailable for rate limits; each process limits alone", error=str(error)
                    )
            finally:
                self._give_up()
                await asyncio.gather(self._redis.connection_pool.disconnect(), return_exceptions=True)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _connect(self) -> None:
        async with asyncio.timeout(_CONNECT_SECONDS):
            self._sha = await self._redis.script_load(CLOCK + RULE)
        self._connected = True
        self._tried.set()

    async def _decide_pending(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while batch := self._pending[:_PIPELINED_MAX]:
                answers = await _in_time(self._evaluate(batch))
                del self._pending[: len(batch)]
                for pending, (wait, debt) in zip(batch, answers, strict=True):
                    _resolve(pending, Decision(wait, debt))

    async def _evaluate(self, batch: Sequence[_PendingDecision]) -> list[Any]:
        """Sends the script again if Redis no longer has it. Raises any other error that Redis answers."""
        answers = await self._pipeline(batch, "EVALSHA", self._sha)
        missing = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        again = await self._pipeline([batch[n] for n in missing], "EVAL", CLOCK + RULE)
        for n, answer in zip(missing, again, strict=True):
            answers[n] = answer
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def _pipeline(self, batch: Sequence[_PendingDecision], command: str, script: str) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for pending in batch:
            pipeline.execute_command(command, script, *pending.arguments)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

    def _give_up(self) -> None:
        self._connected = False
        self._tried.set()
        undecided, self._pending = self._pending, []
        for pending in undecided:
            _resolve(pending, None)


def _resolve(pending: _PendingDecision, decision: Decision | None) -> None:
    if not pending.decision.done():  # done if the request was cancelled
        pending.decision.set_result(decision)


async def _in_time(evaluating: Coroutine[Any, Any, list[Any]]) -> list[Any]:
    """Raises TimeoutError after a number of polls, each of at least a millisecond, instead of after a time.

    On a busy machine, polls take longer, and so does Redis: a timeout by the clock would treat a slow Redis as unavailable.
    """
    task = asyncio.create_task(evaluating)
    try:
        for _ in range(_POLLS):
            if (await asyncio.wait({task}, timeout=_POLL_SECONDS))[0]:
                return task.result()
        raise TimeoutError("Redis did not answer in time")
    finally:
        task.cancel()


def _now() -> int:
    """Microseconds of the monotonic clock."""
    return time.monotonic_ns() // 1_000
