"""The state of rate limits: exact across processes through Redis, and kept by each process without it."""

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
from services.rate_limits.store import LocalLimits, RateLimitStore

SLOW = Limit("test", 40, 86_400)  # 21 at once, the next more than an hour later
_numbers = count()


@pytest.fixture
def subject() -> str:
    return f"subject {next(_numbers)}"


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey.start(tmp_path)
    yield server
    server.stop()


@asynccontextmanager
async def opened(url: str | None) -> AsyncIterator[RateLimitStore]:
    limits = RateLimitStore(url)
    await limits.open()
    try:
        yield limits
    finally:
        await limits.close()


async def admitted(limits: RateLimitStore, subject: str, times: int, limit: Limit = SLOW) -> int:
    """The number admitted of requests sent at once."""
    decided = await asyncio.gather(*(limits.admit(limit, subject) for _ in range(times)))
    return sum(decision.wait == 0 for decision in decided)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


def uses_redis(limits: RateLimitStore) -> bool:
    return limits._redis is not None and limits._redis._connected


async def test_two_processes_together_admit_as_much_as_one(valkey: Valkey, subject: str) -> None:
    async with opened(valkey.url()) as one, opened(valkey.url()) as other:
        both = await asyncio.gather(*(admitted(each, subject, 500) for each in (one, other)))
        assert sum(both) == SLOW.burst
        assert (await other.admit(SLOW, f"{subject}, another")).wait == 0


async def test_a_key_expires_with_its_debt(valkey: Valkey, subject: str) -> None:
    async with opened(valkey.url()) as limits, Redis.from_url(valkey.url()) as redis:
        decided = await limits.admit(SLOW, subject)
        left = await redis.pttl(f"shiplog:limit:test:{subject}")
    assert decided == Decision(0, SLOW.interval)
    assert 0 < left <= SLOW.interval / 1_000 + 1


async def test_a_cost_is_charged_whole_or_not_at_all(valkey: Valkey, subject: str) -> None:
    async with opened(valkey.url()) as limits:
        waits = [(await limits.admit(SLOW, subject, cost)).wait > 0 for cost in (15, 7, 6, 1)]
    assert waits == [False, True, False, True]


async def test_a_script_that_redis_no_longer_has_is_sent_again(valkey: Valkey, subject: str) -> None:
    async with opened(valkey.url()) as limits, Redis.from_url(valkey.url()) as redis:
        before = await admitted(limits, subject, 5)
        await redis.script_flush()
        after = await admitted(limits, subject, 50)
        assert await redis.exists(f"shiplog:limit:test:{subject}")
        assert uses_redis(limits)
    assert before + after == SLOW.burst


async def test_without_redis_each_process_limits_by_itself(subject: str) -> None:
    async with opened(None) as one, opened("redis://127.0.0.1:1/0") as other:
        assert [await admitted(each, subject, 100) for each in (one, other)] == [SLOW.burst] * 2


async def test_a_limit_continues_when_redis_is_killed(own_valkey: Valkey, subject: str) -> None:
    async with opened(own_valkey.url()) as limits:
        before = await admitted(limits, subject, 5)
        os.kill(own_valkey.pid, signal.SIGKILL)
        after = [await admitted(limits, subject, 1) for _ in range(50)]
        assert before + sum(after) == SLOW.burst
        assert not uses_redis(limits)


async def test_only_one_request_waits_for_a_redis_that_hangs(own_valkey: Valkey, subject: str) -> None:
    """The first request times out; later ones do not ask Redis while it hangs."""
    async with opened(own_valkey.url()) as limits:
        before = await admitted(limits, subject, 5)
        os.kill(own_valkey.pid, signal.SIGSTOP)
        try:
            after = await admitted(limits, subject, 1)
            assert not uses_redis(limits)
            for _ in range(50):
                request = limits.admit(SLOW, subject)
                with pytest.raises(StopIteration) as answered:  # without waiting
                    request.send(None)
                after += answered.value.value.wait == 0
        finally:
            os.kill(own_valkey.pid, signal.SIGCONT)
        assert before + after == SLOW.burst
        await until(lambda: uses_redis(limits))
        assert await admitted(limits, f"{subject}, another", 100) == SLOW.burst


async def test_redis_decides_again_after_a_restart(own_valkey: Valkey, tmp_path: Path, subject: str) -> None:
    async with opened(own_valkey.url()) as one, opened(own_valkey.url()) as other:
        own_valkey.stop()
        assert await admitted(one, subject, 1) + await admitted(other, subject, 1) == 2
        again = Valkey.start(tmp_path, port=own_valkey.port)
        try:
            await until(lambda: uses_redis(one) and uses_redis(other))
            both = [await admitted(each, f"{subject}, another", 100) for each in (one, other)]
            assert sum(both) == SLOW.burst
        finally:
            again.stop()


async def test_a_redis_that_answers_errors_counts_as_unavailable(own_valkey: Valkey, subject: str) -> None:
    async with opened(own_valkey.url()) as limits, Redis.from_url(own_valkey.url()) as redis:
        await redis.config_set("maxmemory", 1)
        assert await admitted(limits, subject, 100) == SLOW.burst


async def test_a_cancelled_request_leaves_the_others_alone(valkey: Valkey, subject: str) -> None:
    async with opened(valkey.url()) as limits:
        requests = [asyncio.create_task(limits.admit(SLOW, f"{subject} {n}")) for n in range(20)]
        await asyncio.sleep(0)
        for each in requests[::2]:
            each.cancel()
        assert {(await each).wait for each in requests[1::2]} == {0}
        assert uses_redis(limits)


def test_a_process_evicts_the_least_recently_used_subjects() -> None:
    local = LocalLimits(subjects_max=3)
    for name in ("ada", "bob", "eve", "ada", "joe"):
        local.admit(name, SLOW, now=0)
    assert len(local) == 3
    assert local.admit("ada", SLOW, now=0) == Decision(0, 3 * SLOW.interval)
    assert local.admit("bob", SLOW, now=0) == Decision(0, SLOW.interval)
