"""The flip engine: finds each flip once with any workers, restarts on a new definition, parks poison, stops before newer events."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from domain.rulebooks.presets import DEFAULT, PRESETS
from domain.shared.log import EDITORIAL, Position, Shard
from domain.timeline.flips import Flip
from projections.engine.lag import read_lag
from projections.engine.parked import read_parked
from projections.flips import store as flip_log
from projections.flips.advance import advance_flips
from projections.flips.batches import read_flips_blocked
from projections.flips.store import begin, flips_after, install_flips, read_frontier
from projections.flips.verify import verify_flips
from services.settings import Settings
from services.wakeups import Wakeups
from services.workers.jobs import Context, find_flips
from tests.support.histories import Writer, append, flips_of
from tests.support.stage import Log

SECOND = timedelta(seconds=1)


@pytest.fixture
def writer() -> Writer:
    return Writer()


def fill(writer: Writer, votes: int = 40) -> None:
    """A take on each of two tools, then a rulebook under which votes decide, then votes that flip both verdicts."""
    writer.take(1, "builder", 90)
    writer.take(2, "skeptic", 20, "skip")
    writer.wait(SECOND)
    writer.adopt(PRESETS["lower-bound"])
    for voter in range(votes):
        writer.wait(SECOND)
        writer.vote(1 + voter % 3, UUID(int=1 + voter), 1 + voter % 2, "ship" if voter % 2 else "skip")


async def fold(log: Log, batch: int = 100_000) -> list[Flip]:
    while await advance_flips(log, batch_events=batch) is not None:
        pass
    return await flips_after(log, None, 1_000)


async def test_flips_are_caused_by_takes_then_by_an_adoption_then_by_votes(pool: Log, writer: Writer) -> None:
    fill(writer)
    await append(pool, writer.rows)
    found = await fold(pool)
    assert found == flips_of(writer.rows)
    assert [(each.tool, each.before, each.after, each.event) for each in found] == [
        (1, "Unreviewed", "Ship", "TakePublished"),
        (2, "Unreviewed", "Skip", "TakePublished"),
        (1, "Ship", "Unreviewed", "RulebookAdopted"),
        (2, "Skip", "Unreviewed", "RulebookAdopted"),
        (1, "Unreviewed", "Skip", "VoteCast"),
        (2, "Unreviewed", "Ship", "VoteCast"),
    ]
    assert {each.rulebook for each in found[:2]} == {DEFAULT.digest}
    assert {each.rulebook for each in found[2:]} == {PRESETS["lower-bound"].digest}


async def test_reads_continue_after_a_flip_and_keep_the_flips_of_an_adoption_together(
    pool: Log, writer: Writer
) -> None:
    fill(writer)
    await append(pool, writer.rows)
    found = await fold(pool)
    assert await flips_after(pool, None, 1) == found[:1]
    assert await flips_after(pool, found[1].order, 1) == found[2:4]
    assert await flips_after(pool, found[3].order, 100) == found[4:]
    assert await flips_after(pool, found[-1].order, 100) == []


async def test_each_flip_is_found_once_by_concurrent_workers(pool: Log, writer: Writer) -> None:
    fill(writer)
    await append(pool, writer.rows)
    await asyncio.gather(*(fold(pool, batch) for batch in (1, 3, 7, 11)))
    assert await fold(pool) == flips_of(writer.rows)


async def test_the_frontier_is_reported_as_lag_and_freshness(pool: Log, writer: Writer) -> None:
    fill(writer)
    await append(pool, writer.rows)
    (lag,) = [each for each in await read_lag(pool) if each.projection == "flips"]
    assert lag.events == len(writer.rows)
    assert lag.seconds > 0
    await fold(pool)
    (lag,) = [each for each in await read_lag(pool) if each.projection == "flips"]
    assert (lag.events, lag.seconds) == (0, 0)
    frontier = await read_frontier(pool)
    assert str(frontier) == "0.4,1.14,2.13,3.13"
    assert (frontier.lag_ms, frontier.incomplete) == (0, 0)


async def test_starting_again_gives_the_same_flips(pool: Log, writer: Writer) -> None:
    fill(writer)
    await append(pool, writer.rows)
    before = await fold(pool)
    async with pool.acquire() as conn, conn.transaction():
        await begin(conn)
    assert await flips_after(pool, None, 10) == []
    assert await fold(pool, 5) == before


async def test_only_a_changed_definition_starts_again(
    settings: Settings, pool: Log, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(writer)
    await append(pool, writer.rows)
    before = await fold(pool)
    owner = await asyncpg.connect(settings.database_url)
    assert await install_flips(owner) == []
    monkeypatch.setattr(flip_log, "VERSION", flip_log.VERSION + 1)
    assert await install_flips(owner) == ["flips"]
    await owner.close()
    assert await flips_after(pool, None, 10) == []
    assert await fold(pool) == before


async def test_tables_of_an_earlier_definition_are_dropped(settings: Settings, pool: Log) -> None:
    owner = await asyncpg.connect(settings.database_url)
    await owner.execute("SET ROLE shiplog_app")
    await owner.execute("CREATE TABLE read_models.courses (tool integer)")
    await owner.execute("CREATE TABLE read_models.course_days (tool integer)")
    await owner.execute("RESET ROLE")
    await owner.execute("UPDATE definitions SET digest = 'earlier' WHERE projection = 'flips'")
    assert await install_flips(owner) == ["flips"]
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'read_models'"
    names = {row[0] for row in await owner.fetch(tables)}
    await owner.close()
    assert {"flips", "flips_frontier", "verdict_timelines", "timeline_days"} <= names
    assert not {"courses", "course_days"} & names


async def test_an_event_with_an_earlier_time_is_folded_in_its_place(pool: Log, writer: Writer) -> None:
    """This happens only after the clock of Postgres was set back."""
    writer.take(1, "builder", 90)
    writer.wait(SECOND)
    writer.take(2, "builder", 90)
    await append(pool, writer.rows)
    await fold(pool)
    writer.wait(-2 * SECOND)
    writer.vote(1, UUID(int=5), 1, "skip")
    await append(pool, writer.rows[-1:])
    assert await fold(pool) == flips_of(writer.rows)
    assert str(await read_frontier(pool)) == "0.2,1.1,2.0,3.0"


async def test_an_unreadable_event_is_parked_and_the_others_are_folded(pool: Log, writer: Writer) -> None:
    writer.take(1, "builder", 90)
    writer.take(2, "builder", 90)
    await append(pool, [replace(writer.rows[0], event=None), writer.rows[1]])
    (found,) = await fold(pool)
    assert found.tool == 2
    (parked,) = await read_parked(pool)
    assert (parked.projection, parked.position) == ("flips", Position(EDITORIAL, 1))
    assert (await read_frontier(pool)).incomplete == 1


async def test_flips_stop_before_an_event_of_a_newer_release(pool: Log, writer: Writer) -> None:
    writer.take(1, "builder", 90)
    writer.wait(SECOND)
    writer.vote(2, UUID(int=5), 1, "skip")
    writer.wait(SECOND)
    writer.vote(1, UUID(int=6), 1, "skip")
    writer.take(2, "builder", 90)
    rows = [row if row.order.shard != 2 else replace(row, type="VoteCast.2") for row in writer.rows]
    await append(pool, rows)
    assert [each.tool for each in await fold(pool)] == [1]
    assert str(await read_frontier(pool)) == "0.1,1.0,2.0,3.0"
    assert [
        (blocked.projection, blocked.position, blocked.type) for blocked in await read_flips_blocked(pool)
    ] == [("flips", Position(Shard(2), 1), "VoteCast.2")]


async def test_verify_names_rows_that_differ_from_the_events(
    settings: Settings, pool: Log, writer: Writer
) -> None:
    fill(writer)
    await append(pool, writer.rows)
    before = await fold(pool)
    verified = await verify_flips(pool)
    assert (verified.projection, verified.position, verified.drift) == ("flips", "0.4,1.14,2.13,3.13", 0)
    owner = await asyncpg.connect(settings.database_url)
    await owner.execute("DELETE FROM read_models.flips WHERE tool = 1 AND event = 'VoteCast'")
    await owner.execute("UPDATE read_models.flips SET after = 'Split' WHERE tool = 2 AND event = 'VoteCast'")
    await owner.close()
    damaged = await verify_flips(pool)
    assert damaged.drift == 3
    assert damaged.digest == verified.digest
    assert sorted(row.partition(",")[0] for row in damaged.rows) == [
        "says log",
        "says log",
        "says read model",
    ]
    assert len(await flips_after(pool, None, 100)) == len(before) - 1, "verify changes nothing"
    assert await advance_flips(pool) is None


async def test_the_worker_job_finds_flips(pool: Log, writer: Writer) -> None:
    ctx = Context(pool=pool, wakeups=Wakeups(None))
    fill(writer)
    await append(pool, writer.rows)
    assert await find_flips(ctx) >= len(writer.rows)
    assert await find_flips(ctx) == 0
    assert await flips_after(pool, None, 100) == flips_of(writer.rows)
