"""GCRA: it never admits more than the quota, a rejection costs nothing, and Redis decides the same."""

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
def requests(draw: st.DrawFn) -> tuple[Limit, list[tuple[int, int]]]:
    """A limit, and the times and costs of requests: together, about an interval apart, or after long pauses."""
    limit = draw(LIMITS)
    near = st.integers(max(limit.interval - 2, 0), limit.interval + 2)
    gaps = draw(
        st.lists(st.one_of(st.just(0), near, st.integers(0, 2 * limit.burst * limit.interval)), max_size=80)
    )
    costs = [draw(st.one_of(st.just(1), st.integers(1, limit.burst))) for _ in gaps]
    return limit, list(zip(accumulate(gaps, initial=NOW), costs, strict=False))


def decide_all(limit: Limit, sent: list[tuple[int, int]], due: int = 0) -> Iterator[Decision]:
    for now, cost in sent:
        decision = decide(limit, due, now, cost)
        due = now + decision.debt
        yield decision


@given(requests())
def test_no_period_admits_more_than_the_burst_and_the_rate(
    case: tuple[Limit, list[tuple[int, int]]],
) -> None:
    limit, sent = case
    admitted = [
        each for each, decision in zip(sent, decide_all(limit, sent), strict=True) if not decision.wait
    ]
    for first, (start, _) in enumerate(admitted):
        total = 0
        for now, cost in admitted[first:]:
            total += cost
            assert total * limit.interval <= limit.burst * limit.interval + now - start
            assert total <= limit.quota or now - start >= limit.seconds * 1_000_000


@given(requests())
def test_a_rejected_request_costs_nothing(case: tuple[Limit, list[tuple[int, int]]]) -> None:
    limit, sent = case
    decisions = list(decide_all(limit, sent))
    admitted = [each for each, decision in zip(sent, decisions, strict=True) if not decision.wait]
    assert list(decide_all(limit, admitted)) == [decision for decision in decisions if not decision.wait]


@given(requests())
def test_a_request_is_admitted_after_the_announced_wait_and_not_before(
    case: tuple[Limit, list[tuple[int, int]]],
) -> None:
    limit, sent = case
    for (now, cost), decision in zip(sent, decide_all(limit, sent), strict=True):
        due = now + decision.debt
        if decision.wait:
            assert decide(limit, due, now + decision.wait, cost).wait == 0
            assert decide(limit, due, now + decision.wait - 1, cost).wait == 1


@given(requests())
def test_what_is_left_would_be_admitted(case: tuple[Limit, list[tuple[int, int]]]) -> None:
    limit, sent = case
    for (now, _), decision in zip(sent, decide_all(limit, sent), strict=True):
        left, due = limit.left(decision.debt), now + decision.debt
        assert left == 0 or decide(limit, due, now, left).wait == 0
        if left < limit.burst:
            assert decide(limit, due, now, left + 1).wait == limit.until_more(decision.debt) > 0


@given(LIMITS)
def test_the_whole_quota_can_be_used(limit: Limit) -> None:
    """By sending each request as soon as it is admitted."""
    end, now, due, admitted = NOW + limit.seconds * 1_000_000, NOW, 0, 0
    while now < end:
        decision = decide(limit, due, now)
        admitted, now, due = admitted + (decision.wait == 0), now + decision.wait, now + decision.debt
    assert admitted == limit.quota


def test_a_debt_above_the_burst_is_capped() -> None:
    limit = Limit("test", 4, 60)
    assert decide(limit, NOW + 10**12, NOW) == Decision(limit.interval, limit.burst * limit.interval)


@pytest.fixture(scope="module")
def redis(valkey: Valkey) -> Iterator[Redis]:
    with Redis.from_url(valkey.url()) as redis:
        yield redis


_numbers = count()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(case=requests(), ahead=st.integers(0, 10**10))
def test_redis_decides_the_same(redis: Redis, case: tuple[Limit, list[tuple[int, int]]], ahead: int) -> None:
    """With a clock from the test, to try any times. Keys do not expire, which they would by the server's own clock."""
    limit, sent = case
    assert ENDING in RULE
    rule, key = redis.register_script(GIVEN_CLOCK + RULE.replace(ENDING, "")), f"rates:{next(_numbers)}"
    redis.set(key, NOW + ahead)
    for (now, cost), decision in zip(sent, decide_all(limit, sent, NOW + ahead), strict=True):
        answer = rule(keys=[key], args=[limit.interval, limit.burst, cost, now])
        assert Decision(*answer) == decision


def test_the_clock_is_that_of_redis(redis: Redis) -> None:
    def now() -> int:
        seconds, microseconds = redis.time()
        return int(seconds * 1_000_000 + microseconds)

    before, during, after = now(), int(redis.eval(CLOCK + "return now", 0)), now()
    assert before <= during <= after
