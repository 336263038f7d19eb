"""Limits where processes meet: exact through Redis, and kept by each process while Redis is away."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
from redis.asyncio import Redis

from services.embedded.valkey import Valkey
from services.rate_limits.gcra import Decision, Limit
from services.rate_limits.store import Limits, Own

SLOW = Limit("test", 40, 86_400)  # 21 at once, the next more than an hour later
_numbers = count()


@pytest.fixture
def who() -> str:
    return f"somebody {next(_numbers)}"


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey.start(tmp_path)
    yield server
    server.stop()


@asynccontextmanager
async def opened(url: str | None) -> AsyncIterator[Limits]:
    limits = Limits(url)
    await limits.open()
    try:
        yield limits
    finally:
        await limits.close()


async def admitted(limits: Limits, who: str, times: int, limit: Limit = SLOW) -> int:
    """Of so many requests at once."""
    decided = await asyncio.gather(*(limits.admit(limit, who) for _ in range(times)))
    return sum(decision.wait == 0 for decision in decided)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            if true():
                return
            await asyncio.sleep(0.01)


def is_shared(limits: Limits) -> bool:
    return limits._shared is not None and limits._shared._joined


async def test_two_processes_admit_together_what_one_would(valkey: Valkey, who: str) -> None:
    async with opened(valkey.url()) as one, opened(valkey.url()) as other:
        both = await asyncio.gather(*(admitted(each, who, 500) for each in (one, other)))
        assert sum(both) == SLOW.burst
        assert (await other.admit(SLOW, f"{who}, another")).wait == 0


async def test_a_limit_is_kept_no_longer_than_it_matters(valkey: Valkey, who: str) -> None:
    async with opened(valkey.url()) as limits, Redis.from_url(valkey.url()) as redis:
        decided = await limits.admit(SLOW, who)
        left = await redis.pttl(f"shiplog:limit:test:{who}")
    assert decided == Decision(0, SLOW.interval)
    assert 0 < left <= SLOW.interval / 1_000 + 1


async def test_a_cost_is_charged_whole_or_not_at_all(valkey: Valkey, who: str) -> None:
    async with opened(valkey.url()) as limits:
        waits = [(await limits.admit(SLOW, who, cost)).wait > 0 for cost in (15, 7, 6, 1)]
    assert waits == [False, True, False, True]


async def test_a_script_that_redis_forgot_is_sent_again(valkey: Valkey, who: str) -> None:
    async with opened(valkey.url()) as limits, Redis.from_url(valkey.url()) as redis:
        before = await admitted(limits, who, 5)
        await redis.script_flush()
        after = await admitted(limits, who, 50)
        assert await redis.exists(f"shiplog:limit:test:{who}")
        assert is_shared(limits)
    assert before + after == SLOW.burst


async def test_without_redis_each_process_limits_by_itself(who: str) -> None:
    async with opened(None) as one, opened("redis://127.0.0.1:1/0") as other:
        assert [await admitted(each, who, 100) for each in (one, other)] == [SLOW.burst] * 2


async def test_a_redis_that_dies_leaves_the_limit_where_it_was(mortal: Valkey, who: str) -> None:
    async with opened(mortal.url()) as limits:
        before = await admitted(limits, who, 5)
        os.kill(mortal.pid, signal.SIGKILL)
        after = [await admitted(limits, who, 1) for _ in range(50)]
        assert before + sum(after) == SLOW.burst
        assert not is_shared(limits)


async def test_a_redis_that_hangs_is_waited_for_once(mortal: Valkey, who: str) -> None:
    """One request finds out; those that come later do not ask it, however long it hangs."""
    async with opened(mortal.url()) as limits:
        before = await admitted(limits, who, 5)
        os.kill(mortal.pid, signal.SIGSTOP)
        try:
            after = await admitted(limits, who, 1)
            assert not is_shared(limits)
            for _ in range(50):
                asking = limits.admit(SLOW, who)
                with pytest.raises(StopIteration) as answered:  # it never waited
                    asking.send(None)
                after += answered.value.value.wait == 0
        finally:
            os.kill(mortal.pid, signal.SIGCONT)
        assert before + after == SLOW.burst
        await until(lambda: is_shared(limits))
        assert await admitted(limits, f"{who}, another", 100) == SLOW.burst


async def test_a_redis_that_comes_back_decides_again(mortal: Valkey, tmp_path: Path, who: str) -> None:
    async with opened(mortal.url()) as one, opened(mortal.url()) as other:
        mortal.stop()
        assert await admitted(one, who, 1) + await admitted(other, who, 1) == 2
        again = Valkey.start(tmp_path, port=mortal.port)
        try:
            await until(lambda: is_shared(one) and is_shared(other))
            both = [await admitted(each, f"{who}, another", 100) for each in (one, other)]
            assert sum(both) == SLOW.burst
        finally:
            again.stop()


async def test_a_redis_that_refuses_is_away(mortal: Valkey, who: str) -> None:
    async with opened(mortal.url()) as limits, Redis.from_url(mortal.url()) as redis:
        await redis.config_set("maxmemory", 1)
        assert await admitted(limits, who, 100) == SLOW.burst


async def test_who_leaves_while_redis_decides_harms_nobody(valkey: Valkey, who: str) -> None:
    async with opened(valkey.url()) as limits:
        asking = [asyncio.create_task(limits.admit(SLOW, f"{who} {n}")) for n in range(20)]
        await asyncio.sleep(0)
        for each in asking[::2]:
            each.cancel()
        assert {(await each).wait for each in asking[1::2]} == {0}
        assert is_shared(limits)


def test_a_process_remembers_so_many_and_forgets_the_longest_unheard_of() -> None:
    own = Own(remembered=3)
    for name in ("ada", "bob", "eve", "ada", "joe"):
        own.admit(name, SLOW, now=0)
    assert len(own) == 3
    assert own.admit("ada", SLOW, now=0) == Decision(0, 3 * SLOW.interval)
    assert own.admit("bob", SLOW, now=0) == Decision(0, SLOW.interval)
