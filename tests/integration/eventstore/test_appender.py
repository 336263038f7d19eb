"""The appender: one rejected cast does not affect the rest of its batch, and sending a cast again after an unknown outcome counts it once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn
from uuid import UUID, uuid4

import asyncpg
import pytest

from domain.shared.log import Shard, shard_of
from eventstore.appender import Appender, Appenders, CommitTurns, CommitUnknown, Overloaded
from eventstore.casts import CastResult, FirstVoteHeuristic, PendingCast
from eventstore.ids import milliseconds_of, mint
from eventstore.recent_ids import RecentIds
from services.settings import Settings
from tests.support.stage import Log, count_events

SHARD, TOOL = Shard(1), 7
HOLD_HEAD = "SELECT FROM heads WHERE shard = $1 FOR UPDATE"
FIND_WAITING_BACKEND = """
SELECT pid FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%append%casts%'
"""

NEWEST_ID = """
SELECT coalesce(s.id, e.id) FROM standings AS s LEFT JOIN events AS e USING (shard, position) WHERE s.actor = $1
"""


def cast(choice: str | None = "ship", actor: UUID | None = None, id: UUID | None = None) -> PendingCast:
    return PendingCast("v", actor or uuid4(), TOOL, choice, id or mint(), "test", id_is_ours=id is None)


@asynccontextmanager
async def running_appender(log: Log, **limits: Any) -> AsyncIterator[Appender]:
    defaults = {"queue_max": 100, "batch_max": 50, "timeout_seconds": 20.0}
    appender = Appender(log, SHARD, lambda *_: None, CommitTurns(), RecentIds(), **(defaults | limits))
    yield appender
    await appender.close()


@asynccontextmanager
async def locked_head(settings: Settings) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Lock the head from another connection, so that appends have to wait."""
    owner = await asyncpg.connect(settings.database_url)
    try:
        async with owner.transaction():
            await owner.execute(HOLD_HEAD, SHARD)
            yield owner
    finally:
        await owner.close()


async def wait_for_blocked_append(settings: Settings) -> int:
    """The pid of the backend that waits for the head.

    Uses a connection of its own: pg_stat_activity does not change within the transaction that holds the lock.
    """
    observer = await asyncpg.connect(settings.database_url)
    try:
        while (pid := await observer.fetchval(FIND_WAITING_BACKEND)) is None:
            pass
        return int(pid)
    finally:
        await observer.close()


async def test_every_cast_of_a_batch_gets_its_own_result(pool: Log) -> None:
    async with running_appender(pool) as appender:
        results = await asyncio.gather(*(appender.append(cast()) for _ in range(100)))
    assert [each.outcome for each in results] == ["counted"] * 100
    assert sorted(each.position.number for each in results) == list(range(1, 101))


async def test_the_listener_is_called_for_every_batch(pool: Log) -> None:
    positions: list[int] = []

    def listen(shard: Shard, results: Sequence[CastResult]) -> None:
        assert shard == SHARD
        positions.extend(each.position.number for each in results)

    appender = Appender(
        pool, SHARD, listen, CommitTurns(), RecentIds(), queue_max=100, batch_max=7, timeout_seconds=20.0
    )
    await asyncio.gather(*(appender.append(cast()) for _ in range(20)))
    await appender.close()
    assert sorted(positions) == list(range(1, 21))


@pytest.mark.parametrize("index", [0, 7, 19])
async def test_a_cast_with_invalid_data_does_not_fail_the_others_of_its_batch(pool: Log, index: int) -> None:
    casts = [cast("sh\0p" if n == index else "ship") for n in range(20)]
    async with running_appender(pool) as appender:
        answers = await asyncio.gather(*map(appender.append, casts), return_exceptions=True)
        after = await appender.append(cast())
    assert isinstance(answers.pop(index), asyncpg.DataError)
    assert {answer.outcome for answer in answers if isinstance(answer, CastResult)} == {"counted"}
    assert (len(answers), await count_events(pool), after.position.number) == (19, 20, 20)


async def test_a_full_queue_rejects_a_cast_and_keeps_the_others(settings: Settings, pool: Log) -> None:
    async with running_appender(pool, queue_max=5, batch_max=1) as appender:
        async with locked_head(settings):
            accepted = [asyncio.ensure_future(appender.append(cast())) for _ in range(5)]
            await wait_for_blocked_append(settings)
            with pytest.raises(Overloaded):
                await appender.append(cast())
        results = await asyncio.gather(*accepted)
        assert (await appender.append(cast())).outcome == "counted"
    assert [each.outcome for each in results] == ["counted"] * 5
    assert await count_events(pool) == 6


async def test_a_lost_connection_gives_commit_unknown_and_a_resend_settles_it(
    settings: Settings, pool: Log
) -> None:
    sent = cast(id=mint())
    async with running_appender(pool) as appender:
        async with locked_head(settings) as owner:
            unknown = asyncio.ensure_future(appender.append(sent))
            await owner.execute("SELECT pg_terminate_backend($1)", await wait_for_blocked_append(settings))
            with pytest.raises(CommitUnknown):
                await unknown
        first, again = await appender.append(sent), await appender.append(sent)
    assert (first, first.outcome) == (again, "counted")
    assert await count_events(pool) == 1


async def test_a_connection_that_breaks_in_asyncpgs_protocol_gives_commit_unknown(
    pool: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_off(*_: object) -> NoReturn:
        raise asyncpg.InternalClientError("got result for unknown protocol state 3")

    async with running_appender(pool) as appender:
        with monkeypatch.context() as patch:
            patch.setattr("eventstore.appender.append_casts", break_off)
            with pytest.raises(CommitUnknown):
                await appender.append(cast())
        assert (await appender.append(cast())).outcome == "counted"


async def test_a_timeout_gives_commit_unknown(settings: Settings, pool: Log) -> None:
    async with running_appender(pool, timeout_seconds=0.05) as appender:
        async with locked_head(settings):
            with pytest.raises(CommitUnknown):
                await appender.append(cast())
        again = await appender.append(cast())
    assert again.outcome == "counted"


async def test_a_minted_id_older_than_the_ballots_is_replaced_by_a_newer_one(pool: Log) -> None:
    actor, ahead = uuid4(), UUID(int=mint().int + (50_000 << 80))
    async with running_appender(pool) as appender:
        await appender.append(cast("ship", actor, ahead))
        minted = await appender.append(cast("skip", actor))
    assert (minted.outcome, minted.choice, minted.replaced) == ("counted", "skip", "ship")
    assert minted.id > ahead
    assert milliseconds_of(minted.id) == milliseconds_of(ahead) + 1


async def test_several_minted_ids_older_than_the_ballots_are_all_replaced(pool: Log) -> None:
    actor, ahead = uuid4(), UUID(int=mint().int + (50_000 << 80))
    async with running_appender(pool) as appender:
        await appender.append(cast("ship", actor, ahead))
        answers = await asyncio.gather(
            *(appender.append(cast(choice, actor)) for choice in ("skip", None, "skip"))
        )
    newest = await pool.fetchval(NEWEST_ID, actor)
    assert newest > ahead
    assert {answer.outcome for answer in answers} <= {"counted", "unchanged", "superseded"}


async def test_an_id_sent_by_the_client_is_never_changed(pool: Log) -> None:
    actor, older, newer = uuid4(), mint(), mint()
    async with running_appender(pool) as appender:
        await appender.append(cast("ship", actor, newer))
        late = await appender.append(cast("skip", actor, older))
    assert (late.outcome, late.id, late.choice) == ("superseded", newer, "ship")


async def test_close_commits_what_is_queued(pool: Log) -> None:
    appenders = Appenders(pool, 3, lambda *_: None, queue_max=1_000, batch_max=10)
    waiting = [asyncio.ensure_future(appenders.append(cast())) for _ in range(200)]
    await asyncio.sleep(0)
    await appenders.close()
    assert {(await each).outcome for each in waiting} == {"counted"}
    assert await count_events(pool) == 200


async def test_positions_are_gapless_in_every_shard(pool: Log) -> None:
    appenders = Appenders(pool, 3, lambda *_: None, batch_max=16)
    await asyncio.gather(*(appenders.append(cast()) for _ in range(300)))
    await appenders.close()
    rows = await pool.fetch("SELECT shard, count(*), min(position), max(position) FROM events GROUP BY shard")
    assert {row["shard"] for row in rows} == {1, 2, 3}
    assert all(row["count"] == row["max"] and row["min"] == 1 for row in rows)


def test_after_an_existing_ballot_sixteen_batches_do_not_expect_new_ones() -> None:
    heuristic = FirstVoteHeuristic()
    assert heuristic.expects_new
    heuristic.learn(met_ballot=True)
    for _ in range(16):
        assert not heuristic.expects_new
        heuristic.learn(met_ballot=False)
    assert heuristic.expects_new


async def test_a_batch_that_unexpectedly_meets_a_ballot_is_decided_correctly(pool: Log) -> None:
    again = cast()
    async with running_appender(pool) as appender:
        first = await appender.append(again)
        both = await asyncio.gather(
            appender.append(cast()), appender.append(again), appender.append(cast("skip"))
        )
    assert [each.outcome for each in both] == ["counted"] * 3
    assert both[1].position == first.position
    assert sorted(each.position.number for each in both) == [1, 2, 3]


async def test_shards_commit_in_turn_and_batch_what_arrives_meanwhile(pool: Log) -> None:
    """Casts that arrive during one shard's commit form one batch of the other shard."""
    batches: list[Shard] = []
    appenders = Appenders(pool, 2, lambda shard, _: batches.append(shard))
    await asyncio.gather(*(appenders.append(cast()) for _ in range(200)))
    await appenders.close()
    assert sorted(batches) == [1, 2]


async def test_a_locked_shard_does_not_delay_the_others(pool: Log, settings: Settings) -> None:
    appenders = Appenders(pool, 2, lambda *_: None)
    actors = {shard_of(actor, 2): actor for actor in (uuid4() for _ in range(100))}
    async with locked_head(settings):
        locked = asyncio.ensure_future(appenders.append(cast(actor=actors[SHARD])))
        await wait_for_blocked_append(settings)
        assert (await appenders.append(cast(actor=actors[Shard(2)]))).outcome == "counted"
        assert not locked.done()
    assert (await locked).outcome == "counted"
    await appenders.close()


async def test_a_listener_that_raises_does_not_stop_the_appender(pool: Log) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a listener is broken")

    appenders = Appenders(pool, 3, fail)
    try:
        for _ in range(2):
            cast = PendingCast("v", UUID(int=7), 1, "ship", mint(), "test")
            assert (await asyncio.wait_for(appenders.append(cast), 5)).choice == "ship"
    finally:
        await appenders.close()
