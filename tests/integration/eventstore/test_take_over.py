"""A database of migration 0014, the last one before the migrations were squashed, is taken over by `shiplog migrate`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from unittest.mock import AsyncMock
from uuid import UUID

import asyncpg
import pytest
from asyncpg import Record

from eventstore.heads import create_heads, extend_events
from eventstore.migrations import SQUASHED, MigrationError
from services.cli.commands.migrate import migrate_database
from services.embedded.postgres import Postgres
from services.resources import open_pool
from services.settings import Settings
from tests.integration.conftest import fresh_database, stage_on
from tests.support.schema import difference, read_entries, sorted_schema
from tests.support.sealed_history import write_history
from tests.support.stage import list_tool

SEED = 20261126
DATABASE_OF_0014 = Path(__file__).with_name("database_of_0014.sql")
TAKEN_OVER = "squash of migrations 0001 to 0014"
# Processes of the previous release still call these. The next release drops them: see docs/operations.md.
LEFTOVERS = ["append_first_casts(smallint, text[], uuid[], integer[], text[], uuid[], text[])"]

READ_EVENTS = "SELECT * FROM events ORDER BY shard, position"
READ_BALLOTS = "SELECT * FROM standings ORDER BY shard, kind, actor, tool"
READ_VERSIONS = "SELECT version FROM schema_migrations ORDER BY version"
# The call with which a process of the previous release appends the vote of a new voter.
APPEND_AS_BEFORE = """
SELECT "position" FROM append_first_casts(1::smallint, '{v}', ARRAY[gen_random_uuid()], '{1}', '{ship}',
                                          ARRAY[uuidv7()], '{web}') WHERE ord = 0
"""
# As the older release's `shiplog migrate` leaves a database that was taken over: its 0006 replaces a function, its 0007 fails.
MIGRATE_AS_BEFORE = """
CREATE OR REPLACE FUNCTION extend_events(upto bigint) RETURNS void LANGUAGE sql AS 'SELECT';
INSERT INTO schema_migrations (version) VALUES ('0006')
"""
# Every ballot and bookmark is cast again and changes.
CHANGE_ALL = """
SELECT append_casts(shard, array_agg(kind::text), array_agg(actor), array_agg(tool),
                    array_agg(CASE choice WHEN 'ship' THEN 'skip' ELSE 'ship' END),
                    array_agg(uuidv7()), array_agg('test'::text))
  FROM standings GROUP BY shard
"""


@pytest.fixture
async def old(postgres: Postgres) -> AsyncIterator[Settings]:
    """A database of the previous release, with a history in three shards."""
    async with fresh_database(postgres, "template0", "of_0014") as settings:
        conn = await connect(settings)
        await conn.execute(DATABASE_OF_0014.read_text())
        await create_heads(conn, 3)
        await extend_events(conn)
        await conn.execute(APPEND_AS_BEFORE)
        await conn.close()
        with pytest.MonkeyPatch.context() as patched:  # which would refuse a database without all migrations
            patched.setattr("services.resources.check_database", AsyncMock())
            log = await open_pool(settings)
        async with log:
            await write_history(log, SEED, casts=600)
        yield settings


async def connect(settings: Settings) -> asyncpg.Connection:
    return await asyncpg.connect(settings.database_url, server_settings={"TimeZone": "UTC"})


async def read(settings: Settings, *statements: str) -> list[list[Record]]:
    conn = await connect(settings)
    rows = [await conn.fetch(statement) for statement in statements]
    await conn.close()
    return rows


async def test_a_migrated_database_has_the_schema_of_a_new_one(
    old: Settings, postgres: Postgres, template: str
) -> None:
    done = await migrate_database(old)
    assert done.applied[0] == TAKEN_OVER
    assert not [name for name in done.applied if name[0].isdigit() and name[:4] <= SQUASHED[-1]]
    new, taken_over = read_entries(postgres.url(template)), read_entries(old.database_url)
    assert not difference(sorted_schema(new), sorted_schema(taken_over, without=LEFTOVERS))
    assert {each.name for each in taken_over} - {each.name for each in new} == set(LEFTOVERS)


async def test_concurrent_migrates_take_the_database_over_once(
    old: Settings, postgres: Postgres, template: str
) -> None:
    done = await asyncio.gather(*(migrate_database(old) for _ in range(3)))
    assert sum(TAKEN_OVER in each.applied for each in done) == 1
    assert (await migrate_database(old)).applied == []
    assert await read(old, READ_VERSIONS) == await read(
        Settings(database_url=postgres.url(template), secret=old.secret), READ_VERSIONS
    )


async def test_functions_are_applied_again_after_an_older_release_migrated(
    old: Settings, postgres: Postgres, template: str
) -> None:
    await migrate_database(old)
    conn = await connect(old)
    await conn.execute(MIGRATE_AS_BEFORE)
    await conn.close()
    assert "functions/extend_events.sql" in (await migrate_database(old)).applied
    new, repaired = read_entries(postgres.url(template)), read_entries(old.database_url)
    assert not difference(sorted_schema(new), sorted_schema(repaired, without=LEFTOVERS))
    assert "0006" not in [row["version"] for row in (await read(old, READ_VERSIONS))[0]]


async def test_the_log_is_unchanged_and_new_votes_are_counted(old: Settings) -> None:
    before = await read(old, READ_EVENTS, READ_BALLOTS)
    await migrate_database(old)
    assert await read(old, READ_EVENTS, READ_BALLOTS) == before
    async with stage_on(old) as stage:
        await list_tool(stage.client, stage.catalogue_key)
        for choice in ("ship", "skip"):
            voted = await stage.client.post("/v1/votes", json={"tool": "quill", "choice": choice})
            assert voted.json()["outcome"] == "counted"
    [events] = await read(old, READ_EVENTS)
    assert len(events) == len(before[0]) + 3


async def test_processes_of_the_previous_release_can_still_append(old: Settings) -> None:
    await migrate_database(old)
    async with await open_pool(old) as log:
        first, second = [await log.fetchval(APPEND_AS_BEFORE) for _ in range(2)]
    assert second == first + 1


async def test_each_event_keeps_the_time_of_the_event_it_replaces(old: Settings) -> None:
    await migrate_database(old)
    async with await open_pool(old) as log:
        before = await log.fetch(READ_EVENTS)
        await log.execute(CHANGE_ALL)
        after = await log.fetch(READ_EVENTS)
    assert len(after) > len(before) + 20
    assert sum(row["replaced_at"] is not None for row in after) > 50
    assert [row["replaced_at"] for row in after] == [*times_of_replaced(after)]


def times_of_replaced(events: list[Record]) -> Iterator[datetime | None]:
    """For each event the time of the event it replaces, found in the log alone."""
    last: dict[tuple[int, UUID, int, str], datetime] = {}
    for row in events:
        ballot = (row["shard"], row["actor"], row["tool"], row["type"][:4])
        yield last[ballot] if row["replaced"] and row["shard"] else None
        last[ballot] = row["recorded_at"]


@pytest.mark.parametrize(
    "versions",
    [SQUASHED[:5], SQUASHED[:13], SQUASHED[1:], [*SQUASHED, "0015"]],
    ids=lambda versions: f"{versions[0]} to {versions[-1]}",
)
async def test_another_set_of_migrations_is_refused(postgres: Postgres, versions: list[str]) -> None:
    async with fresh_database(postgres, "template0", "half") as settings:
        conn = await connect(settings)
        await conn.execute("CREATE TABLE schema_migrations (version varchar PRIMARY KEY)")
        await conn.executemany("INSERT INTO schema_migrations VALUES ($1)", [(each,) for each in versions])
        await conn.close()
        with pytest.raises(MigrationError, match="all of 0001 to 0014") as refused:
            await migrate_database(settings)
        assert "\n" not in str(refused.value)
        [tables, kept] = await read(
            settings, "SELECT FROM pg_tables WHERE schemaname = 'public'", READ_VERSIONS
        )
        assert len(tables) == 1
        assert [row["version"] for row in kept] == versions
