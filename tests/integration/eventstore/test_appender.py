"""The appender: one item never costs its neighbours their vote, and what is unknown can be settled by a resend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from domain.shared.log import Shard, shard_of
from eventstore.appender import Appender, Appenders, CommitTurns, CommitUnknown, Overloaded
from eventstore.casts import CastResult, FirstVoteHeuristic, PendingCast
from eventstore.ids import milliseconds_of, mint
from services.settings import Settings
from tests.support.stage import Log, count_events

SHARD, TOOL = Shard(1), 7
HOLD_HEAD = "SELECT FROM heads WHERE shard = $1 FOR UPDATE"
WAITING = """
SELECT pid FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%append%casts%'
"""

NEWEST_ID = """
SELECT coalesce(s.id, e.id) FROM standings AS s LEFT JOIN events AS e USING (shard, position) WHERE s.actor = $1
"""


def cast(choice: str | None = "ship", actor: UUID | None = None, id: UUID | None = None) -> PendingCast:
    return PendingCast("v", actor or uuid4(), TOOL, choice, id or mint(), "test", id_is_ours=id is None)


@asynccontextmanager
async def appender(log: Log, **limits: Any) -> AsyncIterator[Appender]:
    lane = Appender(
        log, SHARD, lambda *_: None, CommitTurns(), **({"queue": 100, "group": 50, "timeout": 20.0} | limits)
    )
    yield lane
    await lane.close()


@asynccontextmanager
async def held(settings: Settings) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Another holds the head: whoever appends must wait."""
    owner = await asyncpg.connect(settings.database_url)
    try:
        async with owner.transaction():
            await owner.execute(HOLD_HEAD, SHARD)
            yield owner
    finally:
        await owner.close()


async def until_waiting(settings: Settings) -> int:
    """The backend that waits for the head; asked outside of the holder's transaction, whose view stands still."""
    asking = await asyncpg.connect(settings.database_url)
    try:
        while (pid := await asking.fetchval(WAITING)) is None:
            pass
        return int(pid)
    finally:
        await asking.close()


async def test_casts_that_arrive_together_are_answered_each(pool: Log) -> None:
    async with appender(pool) as lane:
        stood = await asyncio.gather(*(lane.append(cast()) for _ in range(100)))
    assert [each.outcome for each in stood] == ["counted"] * 100
    assert sorted(each.position.number for each in stood) == list(range(1, 101))


async def test_whoever_listens_hears_of_every_group(pool: Log) -> None:
    heard: list[int] = []

    def hear(shard: Shard, stood: Sequence[CastResult]) -> None:
        assert shard == SHARD
        heard.extend(each.position.number for each in stood)

    lane = Appender(pool, SHARD, hear, CommitTurns(), queue=100, group=7, timeout=20.0)
    await asyncio.gather(*(lane.append(cast()) for _ in range(20)))
    await lane.close()
    assert sorted(heard) == list(range(1, 21))


@pytest.mark.parametrize("place", [0, 7, 19])
async def test_a_poisoned_item_does_not_fail_its_neighbours(pool: Log, place: int) -> None:
    casts = [cast("sh\0p" if n == place else "ship") for n in range(20)]
    async with appender(pool) as lane:
        answers = await asyncio.gather(*map(lane.append, casts), return_exceptions=True)
        after = await lane.append(cast())
    assert isinstance(answers.pop(place), asyncpg.DataError)
    assert {answer.outcome for answer in answers if isinstance(answer, CastResult)} == {"counted"}
    assert (len(answers), await count_events(pool), after.position.number) == (19, 20, 20)


async def test_a_full_queue_refuses_and_forgets_nothing(settings: Settings, pool: Log) -> None:
    async with appender(pool, queue=5, group=1) as lane:
        async with held(settings):
            accepted = [asyncio.ensure_future(lane.append(cast())) for _ in range(5)]
            await until_waiting(settings)
            with pytest.raises(Overloaded):
                await lane.append(cast())
        stood = await asyncio.gather(*accepted)
        assert (await lane.append(cast())).outcome == "counted"
    assert [each.outcome for each in stood] == ["counted"] * 5
    assert await count_events(pool) == 6


async def test_a_cut_connection_leaves_it_unsettled_and_a_resend_settles_it(
    settings: Settings, pool: Log
) -> None:
    sent = cast(id=mint())
    async with appender(pool) as lane:
        async with held(settings) as owner:
            unsettled = asyncio.ensure_future(lane.append(sent))
            await owner.execute("SELECT pg_terminate_backend($1)", await until_waiting(settings))
            with pytest.raises(CommitUnknown):
                await unsettled
        first, again = await lane.append(sent), await lane.append(sent)
    assert (first, first.outcome) == (again, "counted")
    assert await count_events(pool) == 1


async def test_a_database_that_does_not_answer_in_time_is_unsettled(settings: Settings, pool: Log) -> None:
    async with appender(pool, timeout=0.05) as lane:
        async with held(settings):
            with pytest.raises(CommitUnknown):
                await lane.append(cast())
        again = await lane.append(cast())
    assert again.outcome == "counted"


async def test_an_id_minted_behind_a_future_one_is_minted_anew(pool: Log) -> None:
    actor, ahead = uuid4(), UUID(int=mint().int + (50_000 << 80))
    async with appender(pool) as lane:
        await lane.append(cast("ship", actor, ahead))
        minted = await lane.append(cast("skip", actor))
    assert (minted.outcome, minted.choice, minted.replaced) == ("counted", "skip", "ship")
    assert minted.id > ahead
    assert milliseconds_of(minted.id) == milliseconds_of(ahead) + 1


async def test_several_minted_behind_the_future_all_have_their_say(pool: Log) -> None:
    actor, ahead = uuid4(), UUID(int=mint().int + (50_000 << 80))
    async with appender(pool) as lane:
        await lane.append(cast("ship", actor, ahead))
        answers = await asyncio.gather(
            *(lane.append(cast(choice, actor)) for choice in ("skip", None, "skip"))
        )
    newest = await pool.fetchval(NEWEST_ID, actor)
    assert newest > ahead
    assert {answer.outcome for answer in answers} <= {"counted", "unchanged", "superseded"}


async def test_an_id_of_the_callers_own_is_never_changed(pool: Log) -> None:
    actor, older, newer = uuid4(), mint(), mint()
    async with appender(pool) as lane:
        await lane.append(cast("ship", actor, newer))
        late = await lane.append(cast("skip", actor, older))
    assert (late.outcome, late.id, late.choice) == ("superseded", newer, "ship")


async def test_closing_commits_what_waits(pool: Log) -> None:
    lanes = Appenders(pool, 3, lambda *_: None, queue=1_000, group=10)
    waiting = [asyncio.ensure_future(lanes.append(cast())) for _ in range(200)]
    await asyncio.sleep(0)
    await lanes.close()
    assert {(await each).outcome for each in waiting} == {"counted"}
    assert await count_events(pool) == 200


async def test_positions_are_gapless_in_every_shard(pool: Log) -> None:
    lanes = Appenders(pool, 3, lambda *_: None, group=16)
    await asyncio.gather(*(lanes.append(cast()) for _ in range(300)))
    await lanes.close()
    rows = await pool.fetch("SELECT shard, count(*), min(position), max(position) FROM events GROUP BY shard")
    assert {row["shard"] for row in rows} == {1, 2, 3}
    assert all(row["count"] == row["max"] and row["min"] == 1 for row in rows)


def test_a_ballot_that_was_met_is_remembered_for_some_groups() -> None:
    expectation = FirstVoteHeuristic()
    assert expectation.expects_new
    expectation.learn(met=True)
    for _ in range(16):
        assert not expectation.expects_new
        expectation.learn(met=False)
    assert expectation.expects_new


async def test_a_group_that_meets_a_ballot_unexpectedly_is_decided_all_the_same(pool: Log) -> None:
    again = cast()
    async with appender(pool) as lane:
        first = await lane.append(again)
        both = await asyncio.gather(lane.append(cast()), lane.append(again), lane.append(cast("skip")))
    assert [each.outcome for each in both] == ["counted"] * 3
    assert both[1].position == first.position
    assert sorted(each.position.number for each in both) == [1, 2, 3]


async def test_lanes_commit_in_turn_and_share_their_commits(pool: Log) -> None:
    """What arrives during one shard's commit is one group of the other, not many."""
    groups: list[Shard] = []
    lanes = Appenders(pool, 2, lambda shard, _: groups.append(shard))
    await asyncio.gather(*(lanes.append(cast()) for _ in range(200)))
    await lanes.close()
    assert sorted(groups) == [1, 2]


async def test_a_locked_shard_keeps_no_other_lane_waiting(pool: Log, settings: Settings) -> None:
    lanes = Appenders(pool, 2, lambda *_: None)
    actors = {shard_of(actor, 2): actor for actor in (uuid4() for _ in range(100))}
    async with held(settings):
        locked = asyncio.ensure_future(lanes.append(cast(actor=actors[SHARD])))
        await until_waiting(settings)
        assert (await lanes.append(cast(actor=actors[Shard(2)]))).outcome == "counted"
        assert not locked.done()
    assert (await locked).outcome == "counted"
    await lanes.close()


async def test_a_listener_that_fails_stops_no_lane(pool: Log) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a listener is broken")

    appenders = Appenders(pool, 3, fail)
    try:
        for _ in range(2):
            cast = PendingCast("v", UUID(int=7), 1, "ship", mint(), "test")
            assert (await asyncio.wait_for(appenders.append(cast), 5)).choice == "ship"
    finally:
        await appenders.close()
