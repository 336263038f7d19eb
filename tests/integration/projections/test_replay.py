"""Replay: a rebuilt read model replaces the live one only if it is equal or accepted, and can be rolled back."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from domain.shared.log import EDITORIAL, Shard
from eventstore.casts import PendingCast, append_casts
from eventstore.decisions import Author
from eventstore.ids import mint
from projections.engine.advance import advance
from projections.engine.projection import Projection
from projections.engine.registry import PROJECTIONS
from projections.engine.snapshot import take_snapshot
from projections.replays import jobs as replays
from projections.replays import ranges
from projections.replays import run as replaying
from projections.replays.cut_over import Acceptance, cut_over, roll_back
from projections.replays.jobs import (
    ReplayUnderWay,
    WrongReplayState,
    begin,
    begin_next,
    cancel,
    pause,
    read_replay,
    resume,
)
from projections.replays.run import run
from projections.replays.verify import verify, verify_next_shard
from projections.tally import TALLY, read_tallies
from tests.support.stage import Log, catch_up

TOOL = 7
SHARDS = (Shard(1), Shard(2), Shard(3))
FOLDED = [projection for projection in PROJECTIONS if projection.view is None]
EDITOR = Acceptance("counted by hand, twice", Author(UUID(int=9), "test"))
CORRUPT_TALLY = "UPDATE read_models.tally SET ship = ship + 5 WHERE shard = 1"


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small log then has many ranges."""
    monkeypatch.setattr(ranges, "RANGE_EVENTS", 7)
    monkeypatch.setattr(replaying, "JOIN_EVENTS_MAX", 10)


async def cast_votes(log: Log, votes: int, shards: tuple[Shard, ...] = SHARDS, kind: str = "v") -> None:
    """Random votes, some of which are changed or taken back."""
    actors = [uuid4() for _ in range(max(1, votes * 2 // 3))]
    for shard in shards:
        casts = [
            PendingCast(
                kind,
                random.choice(actors),
                random.randint(1, 3),
                random.choice(["ship", "skip", None]),
                mint(),
                "test",
            )  # type: ignore[arg-type]
            for _ in range(votes)
        ]
        async with log.acquire() as conn:
            await append_casts(conn, shard, casts)


async def new_votes(log: Log, votes: int, shard: Shard = SHARDS[0]) -> None:
    async with log.acquire() as conn:
        casts = [PendingCast("v", uuid4(), TOOL, "ship", mint(), "test") for _ in range(votes)]
        await append_casts(conn, shard, casts)


async def tally(log: Log) -> dict[int, tuple[int, int]]:
    async with take_snapshot(log) as snapshot:
        return await read_tallies(snapshot, [1, 2, 3, TOOL])


@pytest.mark.parametrize("projection", FOLDED, ids=lambda each: each.name)
async def test_every_read_model_is_rebuilt_equal(pool: Log, projection: Projection) -> None:
    await cast_votes(pool, 40)
    await cast_votes(pool, 10, kind="b")
    await catch_up(pool)
    before = await verify(pool, projection)
    done = await run(pool, PROJECTIONS, await begin(pool, projection))
    assert (done.state, done.drift, done.digest) == ("cut-over", 0, done.replaces)
    assert await verify(pool, projection) == before
    assert done.digest == before.digest
    assert done.done == done.total > 0


async def test_a_replay_reaches_the_head_without_a_worker(pool: Log) -> None:
    await cast_votes(pool, 30)
    done = await run(pool, PROJECTIONS, await begin(pool, TALLY))
    assert done.state == "cut-over"
    assert (await verify(pool, TALLY)).drift == 0


async def test_a_corrupted_read_model_is_detected_and_replaced_only_with_a_reason(pool: Log) -> None:
    await cast_votes(pool, 30)
    await catch_up(pool)
    right = await tally(pool)
    await pool.execute(CORRUPT_TALLY)
    wrong = await tally(pool)
    replay_id = await begin(pool, TALLY)
    done = await run(pool, PROJECTIONS, replay_id)
    assert done.state == "different"
    assert done.drift
    assert done.digest != done.replaces
    assert any("says read model" in row and "tool 1" in row for row in done.rows)
    assert await tally(pool) == wrong
    with pytest.raises(WrongReplayState):
        await cut_over(pool, TALLY, replay_id)
    await cut_over(pool, TALLY, replay_id, EDITOR)
    assert await tally(pool) == right
    event = await pool.fetchrow(
        "SELECT type, data FROM events WHERE shard = $1 ORDER BY position DESC LIMIT 1", EDITORIAL
    )
    assert event is not None
    assert event["type"] == "ReplayAccepted"
    assert EDITOR.reason.encode() in event["data"]


async def test_the_previous_version_keeps_advancing_and_can_be_rolled_back_to(pool: Log) -> None:
    await cast_votes(pool, 30)
    await catch_up(pool)
    await pool.execute(CORRUPT_TALLY)
    replay_id = await begin(pool, TALLY)
    await run(pool, PROJECTIONS, replay_id)
    await cut_over(pool, TALLY, replay_id, EDITOR)
    await new_votes(pool, 4)
    await catch_up(pool)
    right = await tally(pool)
    await roll_back(pool, TALLY)
    corrupted = await tally(pool)
    assert corrupted[TOOL] == right[TOOL] == (4, 0)
    assert corrupted != right
    assert (await read_replay(pool, replay_id)).state == "rolled-back"
    with pytest.raises(WrongReplayState):
        await roll_back(pool, TALLY)


async def test_without_a_cut_over_there_is_no_roll_back(pool: Log) -> None:
    with pytest.raises(WrongReplayState):
        await roll_back(pool, TALLY)


async def test_an_unknown_replay_is_not_cut_over(pool: Log) -> None:
    with pytest.raises(WrongReplayState):
        await cut_over(pool, TALLY, uuid4())


async def test_a_held_replay_waits_for_the_cut_over_command(pool: Log) -> None:
    await cast_votes(pool, 20)
    replay_id = await begin(pool, TALLY, hold=True)
    assert (await run(pool, PROJECTIONS, replay_id)).state == "equal"
    await new_votes(pool, 3)
    await catch_up(pool)
    await cut_over(pool, TALLY, replay_id)
    assert (await verify(pool, TALLY)).drift == 0
    assert (await tally(pool))[TOOL] == (3, 0)


async def test_a_read_model_has_one_replay_at_a_time(pool: Log) -> None:
    await begin(pool, TALLY)
    with pytest.raises(ReplayUnderWay):
        await begin(pool, TALLY)


async def test_a_paused_replay_stops_and_resumes_where_it_was(
    pool: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cast_votes(pool, 60)
    await catch_up(pool)
    replay_id, fold_one, folded = await begin(pool, TALLY), ranges._fold_one, 0

    async def fold_and_pause(*args: object) -> bool:
        nonlocal folded
        folded += 1
        if folded == 3:
            await pause(pool, replay_id)
        return await fold_one(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(ranges, "_fold_one", fold_and_pause)
    halted = await run(pool, PROJECTIONS, replay_id)
    assert halted.state == "paused"
    assert 0 < halted.done < halted.total
    assert (await run(pool, PROJECTIONS, replay_id)).done == halted.done
    await resume(pool, replay_id)
    assert (await run(pool, PROJECTIONS, replay_id)).state == "cut-over"
    assert (await verify(pool, TALLY)).drift == 0


async def test_a_cancelled_replay_leaves_the_live_read_model_unchanged(pool: Log) -> None:
    await cast_votes(pool, 30)
    await catch_up(pool)
    before = await tally(pool)
    replay_id = await begin(pool, TALLY, hold=True)
    await run(pool, PROJECTIONS, replay_id)
    await cancel(pool, PROJECTIONS, replay_id)
    assert (await read_replay(pool, replay_id)).state == "cancelled"
    await new_votes(pool, 2)
    await catch_up(pool)
    assert await tally(pool) == before | {TOOL: (2, 0)}
    with pytest.raises(WrongReplayState):
        await cancel(pool, PROJECTIONS, replay_id)
    assert (await run(pool, PROJECTIONS, await begin(pool, TALLY))).state == "cut-over"


@pytest.mark.parametrize("seed", range(4))
async def test_a_replay_that_is_killed_is_continued_by_the_next_call(pool: Log, seed: int) -> None:
    """The task is cancelled at random moments, while votes arrive and workers advance."""
    chance = random.Random(seed)
    await cast_votes(pool, 60)
    replay_id = await begin(pool, TALLY)
    while (await read_replay(pool, replay_id)).is_active:
        working = asyncio.create_task(run(pool, PROJECTIONS, replay_id))
        await cast_votes(pool, 2)
        await advance(pool, PROJECTIONS, chance.choice(SHARDS))
        done, _ = await asyncio.wait([working], timeout=chance.random() * 0.08)
        if not done:
            working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    await catch_up(pool)
    assert (await read_replay(pool, replay_id)).state == "cut-over"
    assert (await verify(pool, TALLY)).drift == 0


async def test_concurrent_calls_run_a_replay_once(pool: Log) -> None:
    await cast_votes(pool, 60)
    replay_id = await begin(pool, TALLY)
    await asyncio.gather(*(run(pool, PROJECTIONS, replay_id) for _ in range(3)))
    assert (await run(pool, PROJECTIONS, replay_id)).state == "cut-over"
    assert (await verify(pool, TALLY)).drift == 0


async def test_no_answer_mixes_two_versions_during_a_cut_over(
    pool: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every event is a new ship vote, so a tally must be the sum of the positions in its freshness."""
    # More than is written while ranges are folded, or the rebuild would never join where commits are quick.
    monkeypatch.setattr(replaying, "JOIN_EVENTS_MAX", 100)
    over, answers = asyncio.Event(), 0

    async def read() -> None:
        nonlocal answers
        while not over.is_set():
            async with take_snapshot(pool) as snapshot:
                counted = (await read_tallies(snapshot, [TOOL])).get(TOOL, (0, 0))[0]
                assert counted == sum(at.number for at in (await snapshot.freshness()).positions)
            answers += 1

    async def write() -> None:
        while not over.is_set():
            for shard in SHARDS:
                await new_votes(pool, 3, shard)
                await advance(pool, PROJECTIONS, shard, batch=5)

    others = [asyncio.create_task(each) for each in (read(), read(), write())]
    try:
        for _ in range(5):
            done = await run(pool, PROJECTIONS, await begin(pool, TALLY))
            assert done.state == "cut-over", done
            await roll_back(pool, TALLY)
    finally:
        over.set()
        await asyncio.gather(*others)
    assert answers > 10


async def test_a_read_model_updated_by_the_append_is_not_rebuilt() -> None:
    with pytest.raises(replays.MaintainedByAppend):
        replays.find(PROJECTIONS, "my_votes")


async def test_a_changed_definition_cancels_a_replay_of_the_old_one(pool: Log, settings: object) -> None:
    import asyncpg
    from msgspec.structs import replace

    from projections.engine.install import install

    replay_id = await begin(pool, TALLY)
    conn = await asyncpg.connect(settings.database_url)  # type: ignore[attr-defined]
    await install(conn, [replace(TALLY, columns=TALLY.columns | {"more": "bigint NOT NULL DEFAULT 0"})])
    await conn.close()
    assert (await read_replay(pool, replay_id)).state == "cancelled"


async def test_scheduled_replays_rebuild_each_read_model_in_turn(pool: Log) -> None:
    begun = []
    while len(begun) < len(FOLDED) + 1:
        replay_id = await begin_next(pool, PROJECTIONS, timedelta())
        assert replay_id is not None
        begun.append((await run(pool, PROJECTIONS, replay_id)).projection)
    assert sorted(begun[:-1]) == sorted(each.name for each in FOLDED)
    assert begun[-1] == begun[0]
    assert await begin_next(pool, PROJECTIONS, timedelta(hours=1)) is None


async def test_recounts_reach_every_read_model_and_shard_in_turn(pool: Log) -> None:
    await cast_votes(pool, 20)
    await catch_up(pool)
    await pool.execute(CORRUPT_TALLY)
    found = [await verify_next_shard(pool, PROJECTIONS) for _ in range(len(PROJECTIONS) * (len(SHARDS) + 1))]
    assert len({(each.shard, each.projection) for each in found}) == len(found)
    drifting = [each for each in found if each.drift]
    assert [(each.shard, each.projection) for each in drifting] == [(1, "tally")]
    assert any("tool 1" in row for row in drifting[0].rows)
