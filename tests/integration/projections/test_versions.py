"""Versions: old shapes are upcast everywhere, and a newer version blocks only the read models that read it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import structlog
from asyncpg import Pool, Record
from litestar import Litestar
from litestar.testing import AsyncTestClient
from structlog.testing import capture_logs

from domain.events import editorial
from domain.events.editorial import TakePublished, decode, type_of
from domain.events.upcasts import Data, Upcaster
from domain.shared.errors import UndecodableEvent
from domain.shared.log import EDITORIAL, Position, Shard
from eventstore.decisions import decide_tool
from eventstore.sealed.store import Store
from projections.catalogue import CATALOGUE
from projections.engine.advance import advance
from projections.engine.blocked import read_blocked, read_unknown_types
from projections.engine.projection import Projection
from projections.engine.registry import PROJECTIONS
from projections.engine.snapshot import ReadModelBlocked, take_snapshot
from projections.reads.as_of import snapshot_as_of
from projections.replays.jobs import begin
from projections.replays.run import run
from projections.replays.sealed_verify import verify_segments
from projections.replays.verify import verify
from projections.scorecard import SCORECARD, read_take_history, read_takes
from services.cli.commands.status import _read, _table
from services.workers import jobs
from services.workers.jobs import Context, sweep
from tests.support.sealed_history import seal_all
from tests.support.stage import AUTHOR, catch_up, list_tool

PUT = """
WITH head AS (UPDATE heads SET position = position + 1 WHERE shard = $1 RETURNING position)
INSERT INTO events (shard, position, recorded_at, type, tool, actor, id, origin, choice, data)
SELECT $1, position, clock_timestamp(), $2, $3, gen_random_uuid(), uuidv7(), 'test', 'ship', $4 FROM head
RETURNING position
"""
CHECKPOINTS = "SELECT projection, position FROM checkpoints WHERE shard = $1"
READERS = {"scorecard"}
TOOL = 7


def take(score: object, reviewer: str = "builder", **more: object) -> bytes:
    """The data of a TakePublished, as this or another release might have written it."""
    shape = {"type": "TakePublished", "reviewer": reviewer, "revision": 1, "choice": "ship", "text": "Good."}
    return msgspec.json.encode(shape | {"score": score} | more)


async def put(log: Pool[Record], type: str, data: bytes | None = None, shard: Shard = EDITORIAL) -> int:
    return int(await log.fetchval(PUT, shard, type, TOOL, data))


def _out_of_hundred(data: Data) -> Data:
    assert isinstance(data["score"], int)
    return data | {"score": data["score"] * 10}


OUT_OF_TEN = Upcaster(
    name="TakePublished",
    version=1,
    decider=_out_of_hundred,
    postgres="{data} || jsonb_build_object('score', CAST({data}->>'score' AS integer) * 10)",
    duckdb="json_merge_patch({data}, json_object('score', CAST({data}->>'score' AS integer) * 10))",
)


@pytest.fixture
def out_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if scores were 0..10 in an earlier release, and TakePublished.2 had scores of 0..100."""
    monkeypatch.setattr(editorial, "UPCASTERS", (OUT_OF_TEN,))


async def scores(log: Pool[Record]) -> dict[str, int]:
    async with take_snapshot(log) as snapshot:
        return {each.reviewer: each.score for each in await read_takes(snapshot, [TOOL])}


@pytest.mark.usefixtures("out_of_ten")
async def test_old_shapes_are_upcast_in_live_reads_replays_recounts_and_past_reads(
    pool: Pool[Record],
) -> None:
    await put(pool, "TakePublished", take(7))
    await put(pool, "TakePublished.2", take(81, "founder"))
    await catch_up(pool)
    expected = {"builder": 70, "founder": 81}
    assert await scores(pool) == expected
    assert (await verify(pool, SCORECARD)).drift == 0
    done = await run(pool, PROJECTIONS, await begin(pool, SCORECARD))
    assert (done.state, done.digest) == ("cut-over", done.replaces)
    assert await scores(pool) == expected
    now = [Position(Shard(shard), 2 if shard == EDITORIAL else 0) for shard in range(4)]
    async with snapshot_as_of(pool, now) as (as_of_snapshot,):
        assert {each.reviewer: each.score for each in await read_takes(as_of_snapshot, [TOOL])} == expected
    async with take_snapshot(pool) as snapshot:
        assert [each.score for each in await read_take_history(snapshot, TOOL, "builder")] == [70]


@pytest.mark.usefixtures("out_of_ten")
async def test_decisions_read_upcast_events_and_write_the_newest_version(pool: Pool[Record]) -> None:
    await pool.execute("INSERT INTO slugs (slug, tool) VALUES ('quill', $1)", TOOL)
    await put(pool, "TakePublished", take(7))
    again = TakePublished("founder", 1, 81, "ship", "")
    async with pool.acquire() as conn:
        decided = await decide_tool(conn, "quill", lambda _: [again], AUTHOR)
    assert [each.score for each in decided.before if isinstance(each, TakePublished)] == [70]
    assert await pool.fetchval("SELECT type FROM events WHERE position = 2") == "TakePublished.2"
    assert (await pool.fetchval("SELECT data->>'score' FROM events WHERE position = 2")) == "81"


@pytest.mark.usefixtures("out_of_ten")
async def test_duckdb_upcasts_segments_as_postgres_upcasts_the_log(
    pool: Pool[Record], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    await put(pool, "TakePublished", take(7))
    await put(pool, "TakePublished.2", take(81, "founder"))
    await seal_all(pool, store)
    verified = await verify_segments(pool, store, [SCORECARD])
    assert [(each.projection, each.drift) for each in verified] == [("segments", 0), ("scorecard", 0)]


@pytest.mark.usefixtures("out_of_ten")
def test_upcasters_of_consecutive_versions_are_chained(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_text(data: Data) -> Data:
        return data | {"text": ""}

    monkeypatch.setattr(
        editorial, "UPCASTERS", (Upcaster("TakePublished", 2, without_text, "", ""), *editorial.UPCASTERS)
    )
    assert decode(take(7), "TakePublished") == TakePublished("builder", 1, 70, "ship", "")
    assert decode(take(70), "TakePublished.2") == TakePublished("builder", 1, 70, "ship", "")
    assert decode(take(70), "TakePublished.3") == TakePublished("builder", 1, 70, "ship", "Good.")
    assert type_of(TakePublished("builder", 1, 70, "ship", "")) == "TakePublished.3"
    with pytest.raises(UndecodableEvent, match=r"TakePublished\.4 is newer than TakePublished\.3"):
        decode(take(7), "TakePublished.4")


def test_an_upcaster_changes_the_digest_of_the_read_models_that_read_its_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {each.name: each.digest for each in PROJECTIONS}
    monkeypatch.setattr(editorial, "UPCASTERS", (OUT_OF_TEN,))
    assert {each.name for each in PROJECTIONS if each.digest != before[each.name]} == READERS


def test_without_upcasters_statements_are_unchanged() -> None:
    assert "SELECT * FROM public.events WHERE" in SCORECARD.fold_range
    assert "CASE type" not in SCORECARD.fold_range


async def test_a_newer_version_blocks_its_readers_just_before_it_and_no_other_read_model(
    pool: Pool[Record],
) -> None:
    await put(pool, "TakePublished", take(7))
    await put(pool, "TakePublished.2", take(8, "founder"))
    await put(pool, "TakePublished", take(9, "operator"))
    await catch_up(pool)
    checkpoints = {row[0]: row[1] for row in await pool.fetch(CHECKPOINTS, EDITORIAL)}
    assert {name for name, position in checkpoints.items() if position == 1} == READERS
    assert {position for name, position in checkpoints.items() if name not in READERS} == {3}
    assert await scores(pool) == {"builder": 7}
    blocked = await read_blocked(pool, PROJECTIONS)
    assert {(each.projection, str(each.position), each.type) for each in blocked} == {
        (name, "0.2", "TakePublished.2") for name in READERS
    }
    async with take_snapshot(pool) as snapshot:
        await read_takes(snapshot)
        freshness = await snapshot.freshness()
    assert freshness.positions[0] == Position(EDITORIAL, 1)
    assert freshness.lag_ms > 0
    assert (await verify(pool, SCORECARD)).drift == 0


async def test_other_read_models_advance_and_after_an_upgrade_so_does_the_blocked_one(
    pool: Pool[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(pool, "TakePublished", take(7))
    await put(pool, "TakePublished.2", take(81, "founder"))
    for _ in range(3):
        await put(pool, "TakePublished", take(9, "operator"))
        await catch_up(pool)
    assert await advance(pool, PROJECTIONS, EDITORIAL) is None
    monkeypatch.setattr(editorial, "UPCASTERS", (OUT_OF_TEN,))
    await catch_up(pool)
    assert {row[1] for row in await pool.fetch(CHECKPOINTS, EDITORIAL)} == {5}
    # `shiplog migrate` rebuilds what was folded before the upgrade, because the definition's digest has changed.
    assert await scores(pool) == {"builder": 7, "founder": 81, "operator": 90}
    assert await read_blocked(pool, PROJECTIONS) == []


async def test_a_past_read_that_needs_a_newer_version_fails_and_others_succeed(pool: Pool[Record]) -> None:
    await put(pool, "TakePublished", take(7))
    await put(pool, "TakePublished.2", take(8))
    await catch_up(pool)

    def at(editorial_position: int) -> list[Position]:
        return [Position(Shard(shard), editorial_position if shard == EDITORIAL else 0) for shard in range(4)]

    async with snapshot_as_of(pool, at(1)) as (as_of_snapshot,):
        assert [each.score for each in await read_takes(as_of_snapshot, [TOOL])] == [7]
    async with snapshot_as_of(pool, at(2)) as (as_of_snapshot,):
        assert await as_of_snapshot.fetch(CATALOGUE, "SELECT tool FROM catalogue") == []
        with pytest.raises(ReadModelBlocked):
            await read_takes(as_of_snapshot, [TOOL])


@pytest.mark.parametrize("behind", [True, False])
async def test_a_replay_stops_before_the_event_that_blocks_the_live_version(
    pool: Pool[Record], *, behind: bool
) -> None:
    await put(pool, "TakePublished", take(7))
    await put(pool, "TakePublished.2", take(8, "founder"))
    await put(pool, "TakePublished", take(9, "operator"))
    if not behind:
        await catch_up(pool)
    done = await run(pool, PROJECTIONS, await begin(pool, SCORECARD))
    assert (done.state, done.drift) == ("cut-over", 0)
    assert await scores(pool) == {"builder": 7}
    await catch_up(pool)
    assert {str(each.position) for each in await read_blocked(pool, PROJECTIONS)} == {"0.2"}


async def test_an_unknown_type_blocks_nothing_and_is_reported(
    pool: Pool[Record], client: AsyncTestClient[Litestar]
) -> None:
    for number in range(3):
        await put(pool, "VoteWeighed", shard=Shard(1))
        await put(pool, "VoteCast" if number else "ReplayAccepted.2", shard=Shard(1))
    await catch_up(pool)
    assert {row[1] for row in await pool.fetch(CHECKPOINTS, 1)} == {6}
    assert await read_blocked(pool, PROJECTIONS) == []
    assert [(each.type, str(each.position)) for each in await read_unknown_types(pool, PROJECTIONS)] == [
        ("ReplayAccepted.2", "1.2"),
        ("VoteWeighed", "1.1"),
    ]
    assert (await client.get("/readyz")).json()["unread"] == {
        "ReplayAccepted.2": "1.2",
        "VoteWeighed": "1.1",
    }


async def test_a_blocked_read_model_is_reported_in_readyz_metrics_and_log(
    pool: Pool[Record],
    client: AsyncTestClient[Litestar],
    catalogue_key: dict[str, str],
    read_key: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await list_tool(client, catalogue_key)  # type: ignore[arg-type]
    await put(pool, "TakePublished.2", take(8))
    jobs._log_blocked_once.cache_clear()
    monkeypatch.setattr(jobs, "_log", structlog.get_logger())  # not cached by another test
    with capture_logs() as logs:
        await sweep(Context(pool=pool, wakeups=SilentSignals()))  # type: ignore[typeddict-item]
        await sweep(Context(pool=pool, wakeups=SilentSignals()))  # type: ignore[typeddict-item]
    ready = (await client.get("/readyz")).json()
    assert ready["status"] == "ready"
    assert len(ready["stopped"]) == 1
    (message,) = [each for each in ready["stopped"] if each.startswith("scorecard")]
    assert "scorecard is stopped before 0.2, an event of type TakePublished.2" in message
    assert "Upgrade this process" in message
    assert [each["blocked"] for each in logs if each["event"] == "a read model is blocked"] == ready[
        "stopped"
    ]
    assert message in _table(await _read(pool))
    metrics = (await client.get("/metrics", headers=read_key)).text
    assert 'shiplog_stopped_shards{read_model="scorecard"} 1.0' in metrics
    assert 'shiplog_stopped_shards{read_model="catalogue"} 0.0' in metrics
    shown = await client.get("/v1/tools/quill", params={"min_position": "0.1"})
    assert shown.headers["shiplog-position"].split(",")[0] == "0.1"


class SilentSignals:
    async def announce(self, shard: Shard, position: int) -> None:
        pass


def test_families_are_the_event_types_in_the_select() -> None:
    assert SCORECARD.families == ("TakePublished", "TakeWithdrawn")
    assert all(each.families for each in PROJECTIONS)
    assert isinstance(SCORECARD, Projection)
