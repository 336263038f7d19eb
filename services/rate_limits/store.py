"""Rate limits: decided in Redis for all processes at once, or here, for this one, while Redis is away."""

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

_TURN_SECONDS, _TURNS = 0.001, 10  # for Redis to decide
_REST_SECONDS = 0.5  # for a Redis that did not
_JOIN_SECONDS = 1.0  # to connect, which no request waits for
_TOGETHER = 50  # decisions in one round trip
_REMEMBERED = 10_000  # whom this process limits: some 2 MB
_AWAY = (RedisError, OSError, TimeoutError, RuntimeError)  # the last is uvloop's word for a closed transport
_log = structlog.get_logger()


class Limits:
    """Decides in Redis when there is one that answers, else here. No call raises, none waits long."""

    def __init__(self, url: str | None) -> None:
        self._shared = _Shared(url) if url else None
        self._own = Own()

    async def open(self) -> None:
        """Until Redis is joined, or has been tried."""
        if self._shared is not None:
            await self._shared.open()

    async def admit(self, limit: Limit, who: str, cost: int = 1) -> Decision:
        key = f"shiplog:limit:{limit.name}:{who}"
        decided = await self._shared.decide(key, limit, cost) if self._shared else None
        if decided is None:
            return self._own.admit(key, limit, _now(), cost)
        self._own.learn(key, _now() + decided.debt)
        return decided

    async def close(self) -> None:
        if self._shared is not None:
            await self._shared.close()


class Own:
    """What this process knows of those it limits; who was heard of longest ago is forgotten first."""

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._remembered = remembered
        self._due: OrderedDict[str, int] = OrderedDict()

    def admit(self, key: str, limit: Limit, now: int, cost: int = 1) -> Decision:
        decided = decide(limit, self._due.get(key, 0), now, cost)
        self.learn(key, now + decided.debt)
        return decided

    def learn(self, key: str, due: int) -> None:
        """From Redis too, so that a limit goes on from where it was when Redis goes away."""
        self._due[key] = due
        self._due.move_to_end(key)
        if len(self._due) > self._remembered:
            self._due.popitem(last=False)

    def __len__(self) -> int:
        return len(self._due)


class _Asked(Struct, frozen=True, eq=False):
    words: tuple[str | int, ...]
    answer: asyncio.Future[Decision | None]


class _Shared:
    """The rule in Redis, over one connection. What is asked while it is busy goes together, in one round trip."""

    def __init__(self, url: str) -> None:
        self._redis: Redis = Redis.from_url(url, socket_connect_timeout=_JOIN_SECONDS, socket_keepalive=True)
        self._asked: list[_Asked] = []
        self._knock, self._tried = asyncio.Event(), asyncio.Event()
        self._joined, self._sha = False, ""
        self._living: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._living = asyncio.create_task(self._live(), name="limits")
        await self._tried.wait()

    async def decide(self, key: str, limit: Limit, cost: int) -> Decision | None:
        """None when Redis is away, or did not decide in time."""
        if not self._joined:
            return None
        answer: asyncio.Future[Decision | None] = asyncio.get_running_loop().create_future()
        self._asked.append(_Asked((1, key, limit.interval, limit.burst, cost), answer))
        self._knock.set()
        return await answer

    async def close(self) -> None:
        if self._living is not None:
            self._living.cancel()
            await asyncio.gather(self._living, return_exceptions=True)

    async def _live(self) -> None:
        """Join, carry what is asked, and rest after a failure. Requests themselves never try a Redis that is away."""
        while True:
            try:
                await self._join()
                await self._carry_on()
            except _AWAY as error:
                if self._joined or not self._tried.is_set():
                    _log.warning("redis does not decide on limits; each process does", error=str(error))
            finally:
                self._give_up()
                await asyncio.gather(self._redis.connection_pool.disconnect(), return_exceptions=True)
            await asyncio.sleep(_REST_SECONDS)

    async def _join(self) -> None:
        async with asyncio.timeout(_JOIN_SECONDS):
            self._sha = await self._redis.script_load(CLOCK + RULE)
        self._joined = True
        self._tried.set()

    async def _carry_on(self) -> None:
        while True:
            await self._knock.wait()
            self._knock.clear()
            while together := self._asked[:_TOGETHER]:
                answers = await _in_time(self._ask(together))
                del self._asked[: len(together)]
                for asked, (wait, debt) in zip(together, answers, strict=True):
                    _settle(asked, Decision(wait, debt))

    async def _ask(self, together: Sequence[_Asked]) -> list[Any]:
        """Raises what Redis answered to any of them, unless it was that it has forgotten the script."""
        answers = await self._send(together, "EVALSHA", self._sha)
        forgotten = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        again = await self._send([together[n] for n in forgotten], "EVAL", CLOCK + RULE)
        for n, answer in zip(forgotten, again, strict=True):
            answers[n] = answer
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def _send(self, together: Sequence[_Asked], command: str, script: str) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for asked in together:
            pipe.execute_command(command, script, *asked.words)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers

    def _give_up(self) -> None:
        self._joined = False
        self._tried.set()
        undecided, self._asked = self._asked, []
        for asked in undecided:
            _settle(asked, None)


def _settle(asked: _Asked, decided: Decision | None) -> None:
    if not asked.answer.done():  # who asked may have gone
        asked.answer.set_result(decided)


async def _in_time(asking: Coroutine[Any, Any, list[Any]]) -> list[Any]:
    """Patience is counted in turns, not in time: a process that gets little of a busy machine has long turns, and so
    has a Redis beside it. By the clock, both would be given up for dead when they are only slow."""
    task = asyncio.create_task(asking)
    try:
        for _ in range(_TURNS):
            if (await asyncio.wait({task}, timeout=_TURN_SECONDS))[0]:
                return task.result()
        raise TimeoutError("it did not answer in time")
    finally:
        task.cancel()


def _now() -> int:
    return time.monotonic_ns() // 1_000
