"""The follower: one read answers all requests that wait for a position, and their number is limited."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from domain.shared.log import Position, Shard
from projections.engine import follower
from projections.engine.follower import CheckpointFollower, TooManyWaiters, follower_of
from projections.engine.registry import PROJECTIONS
from projections.engine.snapshot import ReadModelBehind
from projections.tally import TALLY
from tests.support.stage import Log, catch_up, seat_panel

NAMES = [projection.name for projection in PROJECTIONS]
FIRST = [Position(Shard(0), 1)]


class Counting:
    """A pool that counts its reads. They answer when ``go`` is set."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.reads = 0
        self.go = asyncio.Event()

    async def fetch(self, query: str) -> Any:
        await self.go.wait()
        self.reads += 1
        return await self._log.fetch(query)


async def test_many_waiters_cost_one_read(pool: Log) -> None:
    await seat_panel(pool, "builder")
    counting = Counting(pool)
    following = CheckpointFollower(cast(Any, counting))
    waiting = [asyncio.create_task(following.wait(NAMES, FIRST)) for _ in range(100)]
    counting.go.set()
    await asyncio.gather(*waiting)
    assert counting.reads == 1


@pytest.mark.parametrize("beyond", [Position(Shard(0), 10**17), Position(Shard(9999), 1)])
async def test_nothing_is_read_for_a_position_that_is_not_in_the_log(
    pool: Log, monkeypatch: pytest.MonkeyPatch, beyond: Position
) -> None:
    monkeypatch.setattr(follower, "WAIT_SECONDS_MAX", 0.3)
    monkeypatch.setattr(follower, "WAITERS_MAX", 1)
    counting = Counting(pool)
    following = CheckpointFollower(cast(Any, counting))
    in_vain = asyncio.create_task(following.wait([TALLY.name], [beyond]))
    counting.go.set()
    with pytest.raises(ReadModelBehind):
        await in_vain
    assert counting.reads == 1


async def test_waiters_in_vain_are_limited_too(pool: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "WAIT_SECONDS_MAX", 3_600)
    monkeypatch.setattr(follower, "WAITERS_IN_VAIN_MAX", 0)
    counting = Counting(pool)
    counting.go.set()
    with pytest.raises(ReadModelBehind):
        await CheckpointFollower(cast(Any, counting)).wait([TALLY.name], [Position(Shard(9999), 1)])


async def test_the_number_of_waiters_is_limited(pool: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "WAITERS_MAX", 2)
    await seat_panel(pool, "builder")
    counting = Counting(pool)
    following = CheckpointFollower(cast(Any, counting))
    waiting = [asyncio.create_task(following.wait(NAMES, FIRST)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyWaiters):
        await following.wait(NAMES, FIRST)
    counting.go.set()
    await asyncio.gather(*waiting)
    await following.wait(NAMES, FIRST)


async def test_an_error_of_the_database_reaches_every_waiter(pool: Log) -> None:
    class Broken:
        async def fetch(self, _: str) -> Any:
            raise OSError("gone")

    following = CheckpointFollower(cast(Any, Broken()))
    answers = await asyncio.gather(*(following.wait(NAMES, FIRST) for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [OSError] * 3


async def test_a_pool_has_one_follower(pool: Log) -> None:
    await catch_up(pool)
    assert follower_of(pool) is follower_of(pool)
