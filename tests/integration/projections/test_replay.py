"""Replay: a read model is rebuilt beside the live one, takes its place only when it is right, and can be taken back."""

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
from projections.replays import run as replaying
from projections.replays.cut_over import Accepted, cut_over, roll_back
from projections.replays.jobs import (
    NotNow,
    ReplayUnderWay,
    begin,
    begin_next,
    cancel,
    pause,
    read_replay,
    resume,
)
from projections.replays.run import run
from projections.replays.verify import verify, verify_slice
from projections.tally import TALLY, read_tallies
from tests.support.stage import Log, catch_up

TOOL = 7
SHARDS = (Shard(1), Shard(2), Shard(3))
FOLDED = [projection for projection in PROJECTIONS if projection.view is None]
EDITOR = Accepted("counted by hand, twice", Author(UUID(int=9), "test"))
SPOIL = "UPDATE read_models.tally SET ship = ship + 5 WHERE shard = 1"


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small log has many."""
    monkeypatch.setattr(replaying, "RANGE_EVENTS", 7)
    monkeypatch.setattr(replaying, "NEAR", 10)


async def cast_votes(log: Log, votes: int, shards: tuple[Shard, ...] = SHARDS, kind: str = "v") -> None:
    """Some are changed, some taken back."""
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
async def test_every_read_model_can_be_rebuilt_and_is_equal(pool: Log, projection: Projection) -> None:
    await cast_votes(pool, 40)
    await cast_votes(pool, 10, kind="b")
    await catch_up(pool)
    before = await verify(pool, projection)
    done = await run(pool, PROJECTIONS, await begin(pool, projection))
    assert (done.state, done.drift, done.digest) == ("cut-over", 0, done.replaces)
    assert await verify(pool, projection) == before
    assert done.digest == before.digest
    assert done.done == done.total > 0


async def test_the_version_beside_is_at_the_head_although_no_worker_was_there(pool: Log) -> None:
    await cast_votes(pool, 30)
    done = await run(pool, PROJECTIONS, await begin(pool, TALLY))
    assert done.state == "cut-over"
    assert (await verify(pool, TALLY)).drift == 0


async def test_a_spoilt_read_model_is_found_and_not_replaced_until_somebody_says_why(pool: Log) -> None:
    await cast_votes(pool, 30)
    await catch_up(pool)
    right = await tally(pool)
    await pool.execute(SPOIL)
    wrong = await tally(pool)
    asked = await begin(pool, TALLY)
    done = await run(pool, PROJECTIONS, asked)
    assert done.state == "different"
    assert done.drift
    assert done.digest != done.replaces
    assert any("says read model" in row and "tool 1" in row for row in done.rows)
    assert await tally(pool) == wrong
    with pytest.raises(NotNow):
        await cut_over(pool, TALLY, asked)
    await cut_over(pool, TALLY, asked, EDITOR)
    assert await tally(pool) == right
    said = await pool.fetchrow(
        "SELECT type, data FROM events WHERE shard = $1 ORDER BY position DESC LIMIT 1", EDITORIAL
    )
    assert said is not None
    assert said["type"] == "ReplayAccepted"
    assert EDITOR.reason.encode() in said["data"]


async def test_the_last_version_moves_on_and_can_come_back(pool: Log) -> None:
    await cast_votes(pool, 30)
    await catch_up(pool)
    await pool.execute(SPOIL)
    asked = await begin(pool, TALLY)
    await run(pool, PROJECTIONS, asked)
    await cut_over(pool, TALLY, asked, EDITOR)
    await new_votes(pool, 4)
    await catch_up(pool)
    right = await tally(pool)
    await roll_back(pool, TALLY)
    spoilt = await tally(pool)
    assert spoilt[TOOL] == right[TOOL] == (4, 0)
    assert spoilt != right
    assert (await read_replay(pool, asked)).state == "rolled-back"
    with pytest.raises(NotNow):
        await roll_back(pool, TALLY)


async def test_nothing_was_cut_over_so_nothing_can_come_back(pool: Log) -> None:
    with pytest.raises(NotNow):
        await roll_back(pool, TALLY)


async def test_held_it_waits_for_the_word(pool: Log) -> None:
    await cast_votes(pool, 20)
    asked = await begin(pool, TALLY, hold=True)
    assert (await run(pool, PROJECTIONS, asked)).state == "equal"
    await new_votes(pool, 3)
    await catch_up(pool)
    await cut_over(pool, TALLY, asked)
    assert (await verify(pool, TALLY)).drift == 0
    assert (await tally(pool))[TOOL] == (3, 0)


async def test_one_at_a_time_for_a_read_model(pool: Log) -> None:
    await begin(pool, TALLY)
    with pytest.raises(ReplayUnderWay):
        await begin(pool, TALLY)


async def test_paused_it_does_nothing_and_goes_on_from_there(
    pool: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cast_votes(pool, 60)
    await catch_up(pool)
    asked, fold_one, folded = await begin(pool, TALLY), replaying._fold_one, 0

    async def fold_and_pause(*args: object) -> bool:
        nonlocal folded
        folded += 1
        if folded == 3:
            await pause(pool, asked)
        return await fold_one(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(replaying, "_fold_one", fold_and_pause)
    halted = await run(pool, PROJECTIONS, asked)
    assert halted.state == "paused"
    assert 0 < halted.done < halted.total
    assert (await run(pool, PROJECTIONS, asked)).done == halted.done
    await resume(pool, asked)
    assert (await run(pool, PROJECTIONS, asked)).state == "cut-over"
    assert (await verify(pool, TALLY)).drift == 0


async def test_cancelled_it_leaves_the_live_one_alone(pool: Log) -> None:
    await cast_votes(pool, 30)
    await catch_up(pool)
    before = await tally(pool)
    asked = await begin(pool, TALLY, hold=True)
    await run(pool, PROJECTIONS, asked)
    await cancel(pool, PROJECTIONS, asked)
    assert (await read_replay(pool, asked)).state == "cancelled"
    await new_votes(pool, 2)
    await catch_up(pool)
    assert await tally(pool) == before | {TOOL: (2, 0)}
    with pytest.raises(NotNow):
        await cancel(pool, PROJECTIONS, asked)
    assert (await run(pool, PROJECTIONS, await begin(pool, TALLY))).state == "cut-over"


@pytest.mark.parametrize("seed", range(4))
async def test_whoever_dies_on_the_way_the_next_goes_on(pool: Log, seed: int) -> None:
    """The work is cut off at random, while votes come in and workers advance."""
    chance = random.Random(seed)
    await cast_votes(pool, 60)
    asked = await begin(pool, TALLY)
    while (await read_replay(pool, asked)).goes_on:
        working = asyncio.create_task(run(pool, PROJECTIONS, asked))
        await cast_votes(pool, 2)
        await advance(pool, PROJECTIONS, chance.choice(SHARDS))
        done, _ = await asyncio.wait([working], timeout=chance.random() * 0.08)
        if not done:
            working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    await catch_up(pool)
    assert (await read_replay(pool, asked)).state == "cut-over"
    assert (await verify(pool, TALLY)).drift == 0


async def test_two_processes_do_not_do_it_twice(pool: Log) -> None:
    await cast_votes(pool, 60)
    asked = await begin(pool, TALLY)
    await asyncio.gather(*(run(pool, PROJECTIONS, asked) for _ in range(3)))
    assert (await run(pool, PROJECTIONS, asked)).state == "cut-over"
    assert (await verify(pool, TALLY)).drift == 0


async def test_no_answer_is_mixed_while_versions_change(pool: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every vote is new and says ship: an answer's tally is the sum of the positions it claims to show."""
    # More than is written while ranges are folded: where commits are quick, a rebuild would not come near otherwise.
    monkeypatch.setattr(replaying, "NEAR", 100)
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


async def test_what_the_append_keeps_is_not_rebuilt() -> None:
    with pytest.raises(replays.KeptByTheAppend):
        replays.find(PROJECTIONS, "my_votes")


async def test_a_changed_definition_cancels_what_was_rebuilt_by_the_old_one(
    pool: Log, settings: object
) -> None:
    import asyncpg
    from msgspec.structs import replace

    from projections.engine.install import install

    asked = await begin(pool, TALLY)
    conn = await asyncpg.connect(settings.database_url)  # type: ignore[attr-defined]
    await install(conn, [replace(TALLY, columns=TALLY.columns | {"more": "bigint NOT NULL DEFAULT 0"})])
    await conn.close()
    assert (await read_replay(pool, asked)).state == "cancelled"


async def test_by_the_clock_each_read_model_is_rebuilt_in_turn(pool: Log) -> None:
    begun = []
    while len(begun) < len(FOLDED) + 1:
        asked = await begin_next(pool, PROJECTIONS, timedelta())
        assert asked is not None
        begun.append((await run(pool, PROJECTIONS, asked)).projection)
    assert sorted(begun[:-1]) == sorted(each.name for each in FOLDED)
    assert begun[-1] == begun[0]
    assert await begin_next(pool, PROJECTIONS, timedelta(hours=1)) is None


async def test_the_recount_comes_round_to_every_read_model_and_shard(pool: Log) -> None:
    await cast_votes(pool, 20)
    await catch_up(pool)
    await pool.execute(SPOIL)
    found = [await verify_slice(pool, PROJECTIONS) for _ in range(len(PROJECTIONS) * (len(SHARDS) + 1))]
    assert len({(each.shard, each.projection) for each in found}) == len(found)
    drifting = [each for each in found if each.drift]
    assert [(each.shard, each.projection) for each in drifting] == [(1, "tally")]
    assert any("tool 1" in row for row in drifting[0].rows)
