"""A time becomes positions only when no open append can add an event with that time or an earlier one."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from domain.shared.log import Position, Shard
from eventstore import as_of_positions
from eventstore.as_of_positions import (
    AppendInFlight,
    InTheFuture,
    NoSuchEvent,
    WrongPositions,
    resolve_positions,
)
from tests.integration.projections.test_advance import cast_votes
from tests.support.stage import Log

LOCK_HEAD = "SELECT FROM heads WHERE shard = 1 FOR NO KEY UPDATE"


async def now(log: Log) -> datetime:
    time: datetime = await log.fetchval("SELECT clock_timestamp()")
    return time


async def test_a_time_gives_the_positions_up_to_it(pool: Log) -> None:
    before = await now(pool)
    await cast_votes(pool, 5)
    assert await resolve_positions(pool, before) == tuple(Position(Shard(shard), 0) for shard in range(4))
    assert (await resolve_positions(pool, await now(pool)))[1] == Position(Shard(1), 5)


async def test_an_open_append_delays_the_positions_until_it_ends(pool: Log) -> None:
    async with pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute(LOCK_HEAD)
        resolving = asyncio.ensure_future(resolve_positions(pool, await now(pool)))
        done, _ = await asyncio.wait([resolving], timeout=0.1)
        assert not done
        await transaction.commit()
    assert len(await resolving) == 4


async def test_an_append_that_stays_open_raises(pool: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(as_of_positions, "APPEND_WAIT_SECONDS_MAX", 0.02)
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(LOCK_HEAD)
        with pytest.raises(AppendInFlight):
            await resolve_positions(pool, await now(pool))


async def test_a_time_or_position_that_the_log_does_not_have_is_rejected(pool: Log) -> None:
    with pytest.raises(InTheFuture):
        await resolve_positions(pool, await now(pool) + timedelta(minutes=1))
    with pytest.raises(NoSuchEvent):
        await resolve_positions(pool, Position(Shard(1), 1))
    with pytest.raises(WrongPositions):
        await resolve_positions(pool, (Position(Shard(1), 0),))
