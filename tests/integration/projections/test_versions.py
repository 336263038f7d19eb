"""Versions: an old shape is read as the newest everywhere, and what is newer than this software stops who reads it alone."""

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
from domain.shared.errors import NotUnderstood
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
from tests.support.stage import SOMEBODY, catch_up, list_tool

PUT = """
WITH head AS (UPDATE heads SET position = position + 1 WHERE shard = $1 RETURNING position)
INSERT INTO events (shard, position, recorded_at, type, tool, actor, id, origin, choice, data)
SELECT $1, position, clock_timestamp(), $2, $3, gen_random_uuid(), uuidv7(), 'test', 'ship', $4 FROM head
RETURNING position
"""
CHECKPOINTS = "SELECT projection, position FROM checkpoints WHERE shard = $1"
READERS = {"scorecard", "reviewer_record"}
TOOL = 7


def take(score: object, reviewer: str = "builder", **more: object) -> bytes:
    """As an older or newer software wrote it."""
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
    """Takes were scored 0..10 once; this software writes and reads 0..100, and so TakePublished.2."""
    monkeypatch.setattr(editorial, "UPCASTERS", (OUT_OF_TEN,))


async def scores(log: Pool[Record]) -> dict[str, int]:
    async with take_snapshot(log) as snapshot:
        return {each.reviewer: each.score for each in await read_takes(snapshot, [TOOL])}


@pytest.mark.usefixtures("out_of_ten")
async def test_an_old_shape_is_read_as_the_newest_live_rebuilt_recounted_and_in_the_past(
    pool: Pool[Record],
) -> None:
    await put(pool, "TakePublished", take(7))
    await put(pool, "TakePublished.2", take(81, "founder"))
    await catch_up(pool)
    expected = {"builder": 70, "founder": 81}
    assert await scores(pool) == expected
    for name in (SCORECARD, *[each for each in PROJECTIONS if each.name == "reviewer_record"]):
        assert (await verify(pool, name)).drift == 0
        done = await run(pool, PROJECTIONS, await begin(pool, name))
        assert (done.state, done.digest) == ("cut-over", done.replaces)
    assert await scores(pool) == expected
    now = [Position(Shard(shard), 2 if shard == EDITORIAL else 0) for shard in range(4)]
    async with snapshot_as_of(pool, now) as (past,):
        assert {each.reviewer: each.score for each in await read_takes(past, [TOOL])} == expected
    async with take_snapshot(pool) as snapshot:
        assert [each.score for each in await read_take_history(snapshot, TOOL, "builder")] == [70]


@pytest.mark.usefixtures("out_of_ten")
async def test_an_old_shape_is_decided_on_as_the_newest_and_the_newest_is_written(pool: Pool[Record]) -> None:
    await pool.execute("INSERT INTO slugs (slug, tool) VALUES ('quill', $1)", TOOL)
    await put(pool, "TakePublished", take(7))
    again = TakePublished("founder", 1, 81, "ship", "")
    async with pool.acquire() as conn:
        decided = await decide_tool(conn, "quill", lambda _: [again], SOMEBODY)
    assert [each.score for each in decided.before if isinstance(each, TakePublished)] == [70]
    assert await pool.fetchval("SELECT type FROM events WHERE position = 2") == "TakePublished.2"
    assert (await pool.fetchval("SELECT data->>'score' FROM events WHERE position = 2")) == "81"


@pytest.mark.usefixtures("out_of_ten")
async def test_duckdb_reads_old_shapes_in_segments_as_postgres_does(
    pool: Pool[Record], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    await put(pool, "TakePublished", take(7))
    await put(pool, "TakePublished.2", take(81, "founder"))
    await seal_all(pool, store)
    verified = await verify_segments(pool, store, [SCORECARD])
    assert [(each.projection, each.drift) for each in verified] == [("segments", 0), ("scorecard", 0)]


@pytest.mark.usefixtures("out_of_ten")
def test_steps_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_text(data: Data) -> Data:
        return data | {"text": ""}

    monkeypatch.setattr(
        editorial, "UPCASTERS", (Upcaster("TakePublished", 2, without_text, "", ""), *editorial.UPCASTERS)
    )
    assert decode(take(7), "TakePublished") == TakePublished("builder", 1, 70, "ship", "")
    assert decode(take(70), "TakePublished.2") == TakePublished("builder", 1, 70, "ship", "")
    assert decode(take(70), "TakePublished.3") == TakePublished("builder", 1, 70, "ship", "Good.")
    assert type_of(TakePublished("builder", 1, 70, "ship", "")) == "TakePublished.3"
    with pytest.raises(NotUnderstood, match=r"TakePublished\.4 is newer than TakePublished\.3"):
        decode(take(7), "TakePublished.4")


def test_a_read_model_is_built_anew_when_what_it_reads_gets_an_upcaster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {each.name: each.digest for each in PROJECTIONS}
    monkeypatch.setattr(editorial, "UPCASTERS", (OUT_OF_TEN,))
    assert {each.name for each in PROJECTIONS if each.digest != before[each.name]} == READERS


def test_without_upcasters_the_log_is_read_as_it_is() -> None:
    assert "SELECT * FROM public.events WHERE" in SCORECARD.fold_range
    assert "CASE type" not in SCORECARD.fold_range


async def test_what_is_newer_stops_those_who_read_it_just_before_it_and_nobody_else(
    pool: Pool[Record],
) -> None:
    await put(pool, "TakePublished", take(7))
    await put(pool, "TakePublished.2", take(8, "founder"))
    await put(pool, "TakePublished", take(9, "operator"))
    await catch_up(pool)
    stands = {row[0]: row[1] for row in await pool.fetch(CHECKPOINTS, EDITORIAL)}
    assert {name for name, position in stands.items() if position == 1} == READERS
    assert {position for name, position in stands.items() if name not in READERS} == {3}
    assert await scores(pool) == {"builder": 7}
    stops = await read_blocked(pool, PROJECTIONS)
    assert {(each.projection, str(each.position), each.type) for each in stops} == {
        (name, "0.2", "TakePublished.2") for name in READERS
    }
    async with take_snapshot(pool) as snapshot:
        await read_takes(snapshot)
        told = await snapshot.freshness()
    assert told.positions[0] == Position(EDITORIAL, 1)
    assert told.lag_ms > 0
    assert (await verify(pool, SCORECARD)).drift == 0


async def test_all_others_go_on_and_once_upgraded_so_does_the_stopped_one(
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
    # What was folded before the upgrade is built anew by `shiplog migrate`; the digest says so.
    assert await scores(pool) == {"builder": 7, "founder": 81, "operator": 90}
    assert await read_blocked(pool, PROJECTIONS) == []


async def test_a_past_that_would_have_to_read_it_says_so_and_every_other_is_shown(pool: Pool[Record]) -> None:
    await put(pool, "TakePublished", take(7))
    await put(pool, "TakePublished.2", take(8))
    await catch_up(pool)

    def at(house_at: int) -> list[Position]:
        return [Position(Shard(shard), house_at if shard == EDITORIAL else 0) for shard in range(4)]

    async with snapshot_as_of(pool, at(1)) as (past,):
        assert [each.score for each in await read_takes(past, [TOOL])] == [7]
    async with snapshot_as_of(pool, at(2)) as (past,):
        assert await past.fetch(CATALOGUE, "SELECT tool FROM catalogue") == []
        with pytest.raises(ReadModelBlocked):
            await read_takes(past, [TOOL])


@pytest.mark.parametrize("behind", [True, False])
async def test_a_rebuilt_version_stops_where_the_live_one_does(pool: Pool[Record], *, behind: bool) -> None:
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


async def test_a_type_that_no_read_model_names_stops_nothing_and_is_told(
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


async def test_a_stop_is_told_in_readyz_the_metrics_and_the_log(
    pool: Pool[Record],
    client: AsyncTestClient[Litestar],
    catalogue_key: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await list_tool(client, catalogue_key)  # type: ignore[arg-type]
    await put(pool, "TakePublished.2", take(8))
    jobs._log_blocked_once.cache_clear()
    monkeypatch.setattr(jobs, "_log", structlog.get_logger())  # one that no other test has used yet
    with capture_logs() as logs:
        await sweep(Context(pool=pool, wakeups=Silent()))  # type: ignore[typeddict-item]
        await sweep(Context(pool=pool, wakeups=Silent()))  # type: ignore[typeddict-item]
    ready = (await client.get("/readyz")).json()
    assert ready["status"] == "ready"
    assert len(ready["stopped"]) == 2
    (told,) = [each for each in ready["stopped"] if each.startswith("scorecard")]
    assert "scorecard is stopped before 0.2, an event of type TakePublished.2" in told
    assert "Upgrade this process" in told
    assert [each["stop"] for each in logs if each["event"] == "a read model is stopped"] == ready["stopped"]
    assert told in _table(await _read(pool))
    metrics = (await client.get("/metrics")).text
    assert 'shiplog_stopped_shards{read_model="scorecard"} 1.0' in metrics
    assert 'shiplog_stopped_shards{read_model="catalogue"} 0.0' in metrics
    shown = await client.get("/v1/tools/quill", params={"min_position": "0.1"})
    assert shown.headers["shiplog-position"].split(",")[0] == "0.1"


class Silent:
    async def announce(self, shard: Shard, position: int) -> None:
        pass


def test_every_read_model_says_by_its_select_what_it_reads() -> None:
    assert SCORECARD.families == ("TakePublished", "TakeWithdrawn")
    assert all(each.families for each in PROJECTIONS)
    assert isinstance(SCORECARD, Projection)
