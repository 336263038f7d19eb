"""Poison: events that a read model cannot fold are parked and reported, all others are folded, and a replay restores them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
import structlog
from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from litestar import Litestar
from litestar.testing import AsyncTestClient
from structlog.testing import capture_logs

from domain.shared.log import EDITORIAL, Position, Shard
from eventstore.sealed.store import Store
from projections.engine import advance as engine
from projections.engine import blocked, poison
from projections.engine.advance import advance, shards_behind
from projections.engine.install import install
from projections.engine.parked import ParkedEvent, park, read_parked
from projections.engine.projection import Projection
from projections.engine.snapshot import take_snapshot
from projections.reads.as_of import snapshot_as_of
from projections.replays import ranges
from projections.replays import run as replaying
from projections.replays.cut_over import cut_over, roll_back
from projections.replays.jobs import begin, cancel
from projections.replays.run import run
from projections.replays.sealed_verify import verify_segments
from projections.replays.verify import verify, verify_all
from projections.scorecard import SCORECARD, read_takes
from services.cli.commands.status import _read, _table
from services.settings import Settings
from services.workers import jobs
from services.workers.jobs import Context, project
from tests.integration.projections.test_replay import EDITOR
from tests.integration.projections.test_versions import CHECKPOINTS, TOOL, SilentSignals, put, take
from tests.support.poisoned import (
    BROKEN,
    FIXED,
    GRADES,
    MENDED,
    append,
    fold,
    install_grades,
    kept,
    parked,
    poison_of,
)
from tests.support.sealed_history import seal_all
from tests.support.stage import catch_up, list_tool

SHARD = Shard(1)
SCORES = [(1, "5"), (1, "x"), (2, "20"), (2, "0"), (1, "50"), (1_000_000, None), (2, "10")]


@pytest.fixture(autouse=True)
async def grades(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "RANGE_EVENTS", 3)
    monkeypatch.setattr(replaying, "JOIN_EVENTS_MAX", 4)
    await install_grades(settings)


async def catch_up_with(log: Pool[Record], projections: tuple[Projection, ...], batch: int = 50_000) -> None:
    for shard in await shards_behind(log):
        while await advance(log, projections, shard, batch=batch):
            pass


@pytest.mark.parametrize("batch", [1, 2, 3, 50_000])
async def test_poison_is_parked_and_everything_else_is_folded(pool: Pool[Record], batch: int) -> None:
    written = await append(pool, SHARD, SCORES)
    await catch_up_with(pool, BROKEN, batch)
    assert await parked(pool) == poison_of(written) == [(1, 2), (1, 4), (1, 6)]
    assert await kept(pool) == fold(written)
    assert {row[1] for row in await pool.fetch(CHECKPOINTS, SHARD)} == {7}
    errors = [each.error.partition(" ")[0] for each in await read_parked(pool)]
    assert errors == ["22P02", "22012", "23502"]
    assert [each.drift for each in await verify_all(pool, BROKEN)] == [0] * len(BROKEN)


async def test_a_replay_after_a_fix_cuts_over_by_itself(pool: Pool[Record]) -> None:
    written = await append(pool, SHARD, SCORES)
    await catch_up_with(pool, BROKEN)
    done = await run(pool, MENDED, await begin(pool, FIXED))
    assert (done.state, done.drift) == ("cut-over", 0)
    assert (
        done.reason
        == "the live version was incomplete by 3 events; with them folded in, both versions are equal"
    )
    assert done.digest != done.replaces
    assert await kept(pool) == fold(written, poison=0)
    assert await parked(pool) == []
    assert (await verify(pool, FIXED)).drift == 0


async def test_a_roll_back_restores_the_incomplete_version(pool: Pool[Record]) -> None:
    written = await append(pool, SHARD, SCORES)
    await catch_up_with(pool, BROKEN)
    await run(pool, MENDED, await begin(pool, FIXED))
    await roll_back(pool, FIXED)
    assert await parked(pool) == poison_of(written)
    assert await parked(pool, FIXED.previous.name) == []
    assert await kept(pool) == fold(written)
    assert (await verify(pool, GRADES)).drift == 0


async def test_a_replay_without_a_fix_parks_the_same_events(pool: Pool[Record]) -> None:
    written = await append(pool, SHARD, SCORES)
    await catch_up_with(pool, BROKEN)
    replay = await begin(pool, GRADES, hold=True)
    done = await run(pool, BROKEN, replay)
    assert (done.state, done.digest) == ("equal", done.replaces)
    more = await append(pool, SHARD, [(2, "x"), (2, "4")])
    await catch_up_with(pool, BROKEN)
    assert await parked(pool) == await parked(pool, GRADES.shadow.name) == poison_of([*written, *more])
    await cut_over(pool, GRADES, replay)
    assert await parked(pool) == await parked(pool, GRADES.previous.name) == poison_of([*written, *more])
    assert await kept(pool) == fold([*written, *more])


async def test_a_difference_that_poison_does_not_explain_needs_a_reason(pool: Pool[Record]) -> None:
    await append(pool, SHARD, SCORES)
    await catch_up_with(pool, BROKEN)
    await pool.execute("UPDATE read_models.grades SET parts = parts + 1 WHERE tool = 2")
    replay = await begin(pool, FIXED)
    done = await run(pool, MENDED, replay)
    assert done.state == "different"
    assert done.drift
    await cut_over(pool, FIXED, replay, EDITOR)
    assert (await parked(pool), (await verify(pool, FIXED)).drift) == ([], 0)


async def test_a_cancelled_replay_leaves_no_parked_events(pool: Pool[Record]) -> None:
    await append(pool, SHARD, SCORES)
    await catch_up_with(pool, BROKEN)
    replay = await begin(pool, GRADES, hold=True)
    await run(pool, BROKEN, replay)
    await cancel(pool, BROKEN, replay)
    assert await parked(pool, GRADES.shadow.name) == []


async def test_a_worker_that_dies_while_halving_leaves_nothing_and_the_next_parks_each_event_once(
    pool: Pool[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = await append(pool, SHARD, SCORES)

    async def die(conn: PoolConnectionProxy[Record], *args: object) -> ParkedEvent:
        await park(conn, *args)  # type: ignore[arg-type]
        await conn.execute("SET ROLE NONE")
        await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        raise AssertionError("the connection is still open")

    monkeypatch.setattr(poison, "park", die)
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.InterfaceError)):
        await advance(pool, BROKEN, SHARD)
    monkeypatch.undo()
    assert (await parked(pool), await kept(pool)) == ([], {})
    assert {row[1] for row in await pool.fetch(CHECKPOINTS, SHARD)} == {0}
    await asyncio.gather(*(catch_up_with(pool, BROKEN) for _ in range(3)))
    await catch_up_with(pool, BROKEN)
    assert await parked(pool) == poison_of(written)
    assert await kept(pool) == fold(written)


async def test_a_fold_that_fails_on_every_event_is_blocked_until_it_is_fixed(
    pool: Pool[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocked, "PARKED_EVENTS_MAX", 3)
    written = await append(pool, SHARD, [(1, "x")] * 12)
    await catch_up_with(pool, BROKEN, 4)
    checkpoints = {row[0]: row[1] for row in await pool.fetch(CHECKPOINTS, SHARD)}
    assert checkpoints.pop("grades") == 4
    assert set(checkpoints.values()) == {12}
    (blocked_read_model,) = await blocked.read_blocked(pool, BROKEN)
    assert str(blocked_read_model).startswith("grades is stopped after 1.4, where it had parked 4 events")
    done = await run(pool, MENDED, await begin(pool, FIXED))
    assert (done.state, done.drift) == ("cut-over", 0)
    await catch_up_with(pool, MENDED)
    assert (await parked(pool), await kept(pool)) == ([], fold(written, poison=0))
    assert [each.projection for each in await blocked.read_blocked(pool, MENDED)] == ["grades__last"]


async def test_poison_in_a_large_batch_is_found_in_small_batches(
    pool: Pool[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SEPARATE_BATCH_EVENTS", 16)
    scores = [(1, "x" if n == 70 else "5") for n in range(100)]
    written = await append(pool, SHARD, scores)
    await catch_up_with(pool, BROKEN, 60)
    assert await parked(pool) == [(1, 71)]
    assert await kept(pool) == fold(written)


async def test_incomplete_is_shown_wherever_freshness_is(
    pool: Pool[Record],
    client: AsyncTestClient[Litestar],
    catalogue_key: dict[str, str],
    read_key: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "_log", structlog.get_logger())  # not cached by another test
    await list_tool(client, catalogue_key)  # type: ignore[arg-type]
    tool = await pool.fetchval("SELECT tool FROM slugs WHERE slug = 'quill'")
    await put(pool, "TakePublished", take("good"))
    with capture_logs() as logs:
        await project(Context(pool=pool, wakeups=SilentSignals()), EDITORIAL)  # type: ignore[typeddict-item]
    assert tool == 1
    assert [each["parked"].partition(":")[0] for each in logs] == [
        "scorecard could not fold 0.2 and parked it"
    ]
    ready = (await client.get("/readyz")).json()
    assert (ready["incomplete"], ready["stopped"]) == ({"scorecard": 1}, [])
    assert (await client.get("/v1/health/drift")).json()["incomplete"] == {"scorecard": 1}
    assert (
        'shiplog_parked_events{read_model="scorecard"} 1.0'
        in (await client.get("/metrics", headers=read_key)).text
    )
    status = _table(await _read(pool))
    assert "scorecard                  0 events, 0.0 s behind, incomplete by 1" in status
    assert "scorecard could not fold 0.2 and parked it: 22P02" in status
    shown = await client.get("/v1/tools/quill")
    assert shown.headers["shiplog-incomplete"] == "1"
    tally = await client.get("/v1/tools/quill/tally")
    assert "shiplog-incomplete" not in tally.headers


async def test_reads_as_of_the_past_exclude_parked_events_and_count_them(pool: Pool[Record]) -> None:
    await put(pool, "TakePublished", take(7))
    await put(pool, "TakePublished", take("good", "founder"))
    await put(pool, "TakePublished", take(9, "operator"))
    await catch_up(pool)
    assert await parked(pool, "scorecard") == [(0, 2)]
    for position, shown, incomplete in ((1, {"builder"}, 0), (3, {"builder", "operator"}, 1)):
        at = [Position(Shard(shard), position if shard == EDITORIAL else 0) for shard in range(4)]
        async with snapshot_as_of(pool, at) as (as_of_snapshot,):
            assert {each.reviewer for each in await read_takes(as_of_snapshot, [TOOL])} == shown
            assert (await as_of_snapshot.freshness()).incomplete == incomplete
    async with take_snapshot(pool) as snapshot:
        await read_takes(snapshot)
        assert (await snapshot.freshness()).incomplete == 1
    assert (await verify(pool, SCORECARD)).drift == 0


async def test_a_rebuilt_definition_starts_without_parked_events(
    settings: Settings, pool: Pool[Record]
) -> None:
    written = await append(pool, SHARD, SCORES)
    await catch_up_with(pool, BROKEN)
    owner = await asyncpg.connect(settings.database_url)
    assert await install(owner, MENDED) == ["grades"]
    await owner.close()
    assert await parked(pool) == []
    await catch_up_with(pool, MENDED)
    assert (await parked(pool), await kept(pool)) == ([], fold(written, poison=0))


async def test_poison_and_a_newer_version_in_one_range(pool: Pool[Record]) -> None:
    await append(pool, SHARD, SCORES)
    await put(pool, "Graded.2", shard=SHARD)
    await append(pool, SHARD, [(1, "x")])
    await catch_up_with(pool, BROKEN)
    checkpoints = {row[0]: row[1] for row in await pool.fetch(CHECKPOINTS, SHARD)}
    assert checkpoints.pop("grades") == 7
    assert set(checkpoints.values()) == {9}
    assert await parked(pool) == [(1, 2), (1, 4), (1, 6)]


async def test_verify_of_segments_excludes_parked_events(pool: Pool[Record], tmp_path: Path) -> None:
    await append(pool, SHARD, SCORES)
    await catch_up_with(pool, BROKEN)
    store = Store(tmp_path)
    await seal_all(pool, store)
    assert {each.projection: each.drift for each in await verify_segments(pool, store, [GRADES])} == {
        "segments": 0,
        GRADES.name: 0,
    }
    await pool.execute("DELETE FROM parked_events WHERE position = 2")
    with pytest.raises(asyncpg.DataError):
        await verify_segments(pool, store, [GRADES])
