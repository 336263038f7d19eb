"""Advance: any number of workers fold every range exactly once, and verify finds rows changed by hand."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import asyncpg
import pytest
from msgspec.structs import replace

from domain.shared.log import Shard
from eventstore.casts import PendingCast, append_casts
from eventstore.heads import read_heads
from eventstore.ids import mint
from projections.engine import advance as engine
from projections.engine.advance import CheckpointMoved, advance, shards_behind
from projections.engine.install import install
from projections.engine.projection import Projection
from projections.engine.registry import PROJECTIONS
from projections.engine.snapshot import take_snapshot
from projections.replays.verify import verify
from projections.tally import TALLY, read_tallies
from services.settings import Settings
from tests.support.stage import Log, catch_up

SHARD, TOOL = Shard(1), 7
# A view is maintained by the append itself and is never advanced.
FOLDED = [projection for projection in PROJECTIONS if projection.view is None]
CHECKPOINTS = "SELECT projection, position FROM checkpoints WHERE shard = $1"


async def cast_votes(log: Log, ship: int, skip: int = 0, shard: Shard = SHARD) -> None:
    casts = [
        PendingCast("v", uuid4(), TOOL, choice, mint(), "test")
        for choice in ["ship"] * ship + ["skip"] * skip
    ]
    async with log.acquire() as conn:
        await append_casts(conn, shard, casts)


async def tally(log: Log) -> tuple[int, int]:
    async with take_snapshot(log) as snapshot:
        return (await read_tallies(snapshot, [TOOL])).get(TOOL, (0, 0))


async def checkpoints(log: Log) -> dict[str, int]:
    return {row[0]: row[1] for row in await log.fetch(CHECKPOINTS, SHARD)}


async def test_a_range_is_folded_and_the_checkpoints_move_with_it(pool: Log) -> None:
    await cast_votes(pool, 3, 2)
    assert await shards_behind(pool) == [SHARD]
    advanced = await advance(pool, PROJECTIONS, SHARD)
    assert advanced is not None
    assert (advanced.shard, advanced.position, advanced.events) == (SHARD, 5, 5)
    assert await checkpoints(pool) == {projection.name: 5 for projection in FOLDED}
    assert await tally(pool) == (3, 2)
    assert await shards_behind(pool) == []


async def test_advance_returns_none_when_nothing_is_new(pool: Log) -> None:
    assert await advance(pool, PROJECTIONS, SHARD) is None


async def test_concurrent_workers_fold_each_range_once(pool: Log) -> None:
    await cast_votes(pool, 40, 20)

    async def work() -> int:
        folded = 0
        while SHARD in await shards_behind(pool):
            if advanced := await advance(pool, PROJECTIONS, SHARD, batch=7):
                folded += advanced.events
        return folded

    folded = await asyncio.gather(*(work() for _ in range(4)))
    assert sum(folded) == 60
    assert await tally(pool) == (40, 20)


@pytest.mark.parametrize(("votes", "batch"), [(10, 5), (10, 3), (10, 10), (10, 11), (10, 1), (1, 1)])
async def test_batches_of_any_size_fold_every_event(pool: Log, votes: int, batch: int) -> None:
    await cast_votes(pool, votes)
    positions = []
    while advanced := await advance(pool, PROJECTIONS, SHARD, batch=batch):
        positions.append(advanced.position)
    assert positions == [min(end, votes) for end in range(batch, votes + batch, batch)]
    assert await tally(pool) == (votes, 0)


async def test_a_read_model_ahead_of_the_others_waits_for_them(pool: Log) -> None:
    await cast_votes(pool, 4)
    await advance(pool, [TALLY], SHARD)
    await cast_votes(pool, 3)
    while await advance(pool, PROJECTIONS, SHARD, batch=2):
        assert (await checkpoints(pool))["tally"] >= 4
    assert set((await checkpoints(pool)).values()) == {7}
    assert await tally(pool) == (7, 0)


async def test_an_advance_is_rolled_back_when_its_checkpoint_has_moved(
    settings: Settings, pool: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a worker lost its connection, and with it the lock of its claim."""
    await cast_votes(pool, 4)
    unlocked = engine.CLAIM_SHARD.replace("FOR NO KEY UPDATE OF c", "")
    unlocked = unlocked.replace("AND (SELECT pg_try_advisory_xact_lock(hashtext('shiplog advance'), $1))", "")
    assert "lock" not in unlocked
    monkeypatch.setattr(
        engine,
        "CLAIM_SHARD",
        unlocked.replace("AND c.position", "AND pg_sleep(0.1) IS NOT NULL AND c.position"),
    )
    outcomes = await asyncio.gather(
        *(advance(pool, PROJECTIONS, SHARD) for _ in range(4)), return_exceptions=True
    )
    lost = [each for each in outcomes if isinstance(each, CheckpointMoved)]
    assert [each for each in outcomes if isinstance(each, BaseException)] == lost
    assert lost, "no worker lost the race: nothing was tested"
    assert await tally(pool) == (4, 0)
    assert [
        await verify(pool, projection) for projection in PROJECTIONS if (await verify(pool, projection)).drift
    ] == []


async def test_a_changed_definition_is_rebuilt(settings: Settings, pool: Log) -> None:
    await cast_votes(pool, 3)
    await catch_up(pool)
    changed = replace(
        TALLY, columns=TALLY.columns | {"voters": "bigint NOT NULL"}, select=_with_voters(TALLY)
    )
    others = [projection for projection in PROJECTIONS if projection is not TALLY]
    assert await _install(settings, changed, *others) == ["tally"]
    assert (await checkpoints(pool)) == {each.name: 0 if each is TALLY else 3 for each in FOLDED}
    await advance(pool, [changed, *others], SHARD)
    assert await pool.fetchval("SELECT voters FROM tally WHERE tool = $1", TOOL) == 3
    assert set((await checkpoints(pool)).values()) == {3}


async def test_an_unchanged_definition_is_not_rebuilt(settings: Settings, pool: Log) -> None:
    await cast_votes(pool, 3)
    await catch_up(pool)
    assert await _install(settings, *PROJECTIONS) == []
    assert await tally(pool) == (3, 0)


async def test_a_failing_definition_moves_no_checkpoint_and_affects_no_other_shard(pool: Log) -> None:
    """The definition is at fault, so no event is parked."""
    await cast_votes(pool, 3)
    await cast_votes(pool, 2, shard=Shard(2))
    failing = replace(
        TALLY, select=TALLY.select.replace("SELECT shard, tool,", "SELECT shard, no_such_column AS tool,")
    )
    broken = [failing if projection is TALLY else projection for projection in PROJECTIONS]
    with pytest.raises(asyncpg.UndefinedColumnError):
        await advance(pool, broken, SHARD)
    assert set((await checkpoints(pool)).values()) == {0}
    await advance(pool, PROJECTIONS, Shard(2))
    assert await tally(pool) == (2, 0)
    await catch_up(pool)
    assert await tally(pool) == (5, 0)


async def test_an_event_of_an_unknown_type_is_passed_over(pool: Log) -> None:
    await cast_votes(pool, 1)
    await pool.execute(
        """
        INSERT INTO events (shard, position, recorded_at, type, tool, actor, id, origin, choice)
        VALUES (1, 2, now(), 'VoteWeighed', $1, gen_random_uuid(), gen_random_uuid(), 'test', 'ship')
        """,
        TOOL,
    )
    await pool.execute("UPDATE heads SET position = 2 WHERE shard = 1")
    await catch_up(pool)
    assert await tally(pool) == (1, 0)
    assert set((await checkpoints(pool)).values()) == {2}


@pytest.mark.parametrize(
    ("statement", "drift"),
    [
        ("UPDATE tally SET ship = ship + 1", 2),
        ("UPDATE tally SET tool = tool + 1", 2),
        ("DELETE FROM tally", 1),
        ("INSERT INTO tally (shard, tool, ship, skip) VALUES (1, 99, 5, 5)", 1),
        ("SELECT 1", 0),
    ],
)
async def test_verify_finds_rows_changed_by_hand(pool: Log, statement: str, drift: int) -> None:
    await cast_votes(pool, 3, 1)
    await catch_up(pool)
    await pool.execute(statement)
    verified = await verify(pool, TALLY)
    assert (verified.projection, verified.drift, len(verified.rows)) == ("tally", drift, drift)
    assert all(row.startswith("says ") for row in verified.rows)


async def test_verify_recounts_up_to_the_checkpoint_of_the_read_model(pool: Log) -> None:
    await cast_votes(pool, 3)
    await catch_up(pool)
    await cast_votes(pool, 2)
    verified = await verify(pool, TALLY)
    assert (verified.drift, verified.position) == (0, "0.0,1.3,2.0,3.0")
    assert (await read_heads(pool))[SHARD] == 5


def _with_voters(projection: Projection) -> str:
    return projection.select.replace(
        "SELECT shard, tool,", "SELECT shard, tool, count(DISTINCT actor) AS voters,"
    )


async def _install(settings: Settings, *projections: Projection) -> list[str]:
    owner = await asyncpg.connect(settings.database_url)
    try:
        return await install(owner, projections)
    finally:
        await owner.close()
