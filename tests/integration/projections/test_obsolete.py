"""Read models that a release no longer has: migrate drops their tables and all records about them."""

from __future__ import annotations

import asyncpg
import pytest
from asyncpg import Pool, Record
from msgspec.structs import replace

from projections.engine.advance import advance
from projections.engine.install import install
from projections.engine.lag import read_lag
from projections.engine.registry import PROJECTIONS
from projections.my_votes import MY_VOTES
from projections.replays.jobs import begin, read_replays
from projections.replays.run import run
from projections.replays.verify import read_recounts, verify_next_shard
from projections.tally import TALLY
from services.cli.commands.migrate import migrate_database
from services.cli.commands.status import _read, _table
from services.settings import Settings
from tests.integration.projections.test_advance import SHARD, cast_votes, checkpoints
from tests.support.stage import Log, catch_up

OBSOLETE = replace(TALLY, name="weekday_tally")
OBSOLETE_VIEW = replace(MY_VOTES, name="their_votes")
BEFORE = (OBSOLETE, OBSOLETE_VIEW, *PROJECTIONS)
NAMED = """
SELECT relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE nspname = 'read_models' AND (relname ^@ 'weekday_tally' OR relname ^@ 'their_votes')
"""
RECORDED = """
SELECT projection FROM checkpoints UNION SELECT projection FROM definitions UNION SELECT projection FROM verifications
 UNION SELECT projection FROM parked_events
"""


@pytest.fixture
async def upgraded(settings: Settings, pool: Log) -> Log:
    """A database of a release with two more read models, before this release migrates it."""
    owner = await asyncpg.connect(settings.database_url)
    await install(owner, BEFORE)
    await owner.close()
    await cast_votes(pool, 3)
    while await advance(pool, BEFORE, SHARD):
        pass
    await run(pool, BEFORE, await begin(pool, OBSOLETE))
    for _ in range(4 * len(BEFORE)):
        await verify_next_shard(pool, BEFORE)
    return pool


async def recorded(log: Pool[Record]) -> set[str]:
    return {row[0] for row in await log.fetch(RECORDED)}


async def test_migrate_drops_obsolete_read_models_and_keeps_the_others(
    upgraded: Log, settings: Settings
) -> None:
    log = upgraded
    assert {"weekday_tally", "weekday_tally__last", "their_votes"} < await recorded(log)
    done = await migrate_database(settings)
    assert sorted(done.dropped) == ["their_votes", "weekday_tally"]
    assert done.read_models == []
    assert await log.fetch(NAMED) == []
    known = {each.name for each in PROJECTIONS}
    assert await recorded(log) == {"flips", *known}
    assert await checkpoints(log) == {each.name: 3 for each in PROJECTIONS if each.view is None}


async def test_lag_drift_and_status_do_not_show_obsolete_read_models(
    upgraded: Log, settings: Settings
) -> None:
    log = upgraded
    unfinished = await begin(log, OBSOLETE)
    await migrate_database(settings)
    known = {"flips", *(each.name for each in PROJECTIONS)}
    assert {each.projection for each in await read_lag(log)} <= known
    assert {each.projection for each in await read_recounts(log)} <= known
    assert "weekday_tally" not in _table(await _read(log))
    assert {each.id: each.state for each in await read_replays(log)}[unfinished] == "cancelled"


async def test_a_second_migrate_drops_nothing(upgraded: Log, settings: Settings) -> None:
    await migrate_database(settings)
    assert (await migrate_database(settings)).dropped == []


async def test_a_process_of_the_previous_release_keeps_advancing(upgraded: Log, settings: Settings) -> None:
    log = upgraded
    await migrate_database(settings)
    await cast_votes(log, 2)
    assert await advance(log, BEFORE, SHARD) is not None
    await catch_up(log)
    assert set((await checkpoints(log)).values()) == {5}
