"""The rule of limits: never more than was said, nothing charged for a refusal, and the same in Redis as here."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from services.embedded.valkey import Valkey
from services.rate_limits.gcra import CLOCK, RULE, Decision, Limit, decide

LIMITS = st.builds(Limit, st.just("test"), st.integers(1, 200), st.integers(1, 3_600))
NOW = 1_790_000_000_000_000  # microseconds, as Redis has them
ENDING = ", 'PX', math.ceil(later / 1000)"
GIVEN_CLOCK = "local now = tonumber(ARGV[4])\n"


@st.composite
def sendings(draw: st.DrawFn) -> tuple[Limit, list[tuple[int, int]]]:
    """A limit, and times and costs of requests: at once, about an interval apart, after long silences."""
    limit = draw(LIMITS)
    near = st.integers(max(limit.interval - 2, 0), limit.interval + 2)
    gaps = draw(
        st.lists(st.one_of(st.just(0), near, st.integers(0, 2 * limit.burst * limit.interval)), max_size=80)
    )
    costs = [draw(st.one_of(st.just(1), st.integers(1, limit.burst))) for _ in gaps]
    return limit, list(zip(accumulate(gaps, initial=NOW), costs, strict=False))


def play(limit: Limit, sent: list[tuple[int, int]], due: int = 0) -> Iterator[Decision]:
    for now, cost in sent:
        decided = decide(limit, due, now, cost)
        due = now + decided.debt
        yield decided


@given(sendings())
def test_no_stretch_of_time_has_more_than_the_burst_and_the_rate(
    sending: tuple[Limit, list[tuple[int, int]]],
) -> None:
    limit, sent = sending
    admitted = [each for each, decided in zip(sent, play(limit, sent), strict=True) if not decided.wait]
    for first, (start, _) in enumerate(admitted):
        total = 0
        for now, cost in admitted[first:]:
            total += cost
            assert total * limit.interval <= limit.burst * limit.interval + now - start
            assert total <= limit.quota or now - start >= limit.seconds * 1_000_000


@given(sendings())
def test_a_refusal_costs_nothing(sending: tuple[Limit, list[tuple[int, int]]]) -> None:
    limit, sent = sending
    decided = list(play(limit, sent))
    admitted = [each for each, decision in zip(sent, decided, strict=True) if not decision.wait]
    assert list(play(limit, admitted)) == [decision for decision in decided if not decision.wait]


@given(sendings())
def test_who_waits_as_told_is_admitted_and_no_sooner(sending: tuple[Limit, list[tuple[int, int]]]) -> None:
    limit, sent = sending
    for (now, cost), decided in zip(sent, play(limit, sent), strict=True):
        due = now + decided.debt
        if decided.wait:
            assert decide(limit, due, now + decided.wait, cost).wait == 0
            assert decide(limit, due, now + decided.wait - 1, cost).wait == 1


@given(sendings())
def test_what_is_left_is_what_would_be_admitted(sending: tuple[Limit, list[tuple[int, int]]]) -> None:
    limit, sent = sending
    for (now, _), decided in zip(sent, play(limit, sent), strict=True):
        left, due = limit.left(decided.debt), now + decided.debt
        assert left == 0 or decide(limit, due, now, left).wait == 0
        if left < limit.burst:
            assert decide(limit, due, now, left + 1).wait == limit.until_more(decided.debt) > 0


@given(LIMITS)
def test_the_whole_quota_can_be_had(limit: Limit) -> None:
    """Asking as soon as it may, in the time the limit is for."""
    end, now, due, admitted = NOW + limit.seconds * 1_000_000, NOW, 0, 0
    while now < end:
        decided = decide(limit, due, now)
        admitted, now, due = admitted + (decided.wait == 0), now + decided.wait, now + decided.debt
    assert admitted == limit.quota


def test_a_debt_of_a_larger_limit_or_a_later_clock_is_not_held_to() -> None:
    limit = Limit("test", 4, 60)
    assert decide(limit, NOW + 10**12, NOW) == Decision(limit.interval, limit.burst * limit.interval)


@pytest.fixture(scope="module")
def redis(valkey: Valkey) -> Iterator[Redis]:
    with Redis.from_url(valkey.url()) as redis:
        yield redis


_numbers = count()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sending=sendings(), ahead=st.integers(0, 10**10))
def test_redis_decides_alike(redis: Redis, sending: tuple[Limit, list[tuple[int, int]]], ahead: int) -> None:
    """By a clock that is given, so every sequence can be had. Keys would end by the server's own, so they do not."""
    limit, sent = sending
    assert ENDING in RULE
    rule, key = redis.register_script(GIVEN_CLOCK + RULE.replace(ENDING, "")), f"rates:{next(_numbers)}"
    redis.set(key, NOW + ahead)
    for (now, cost), decided in zip(sent, play(limit, sent, NOW + ahead), strict=True):
        answer = rule(keys=[key], args=[limit.interval, limit.burst, cost, now])
        assert Decision(*answer) == decided


def test_the_clock_is_redis_own(redis: Redis) -> None:
    def now() -> int:
        seconds, microseconds = redis.time()
        return int(seconds * 1_000_000 + microseconds)

    before, during, after = now(), int(redis.eval(CLOCK + "return now", 0)), now()
    assert before <= during <= after
