"""migrations/schema.sql is the schema that the migrations create, with a comment on every table."""

from __future__ import annotations

import asyncpg
from asyncpg import Pool, Record

from services.embedded.postgres import Postgres
from tests.integration.conftest import fresh_database
from tests.support.schema import FILE, difference, read_entries, read_role, sorted_schema, write_schema

WITHOUT_COMMENT = """
SELECT relname FROM pg_class
 WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
   AND obj_description(oid, 'pg_class') IS NULL
"""


async def test_the_file_is_what_the_migrations_create(postgres: Postgres, template: str) -> None:
    url = postgres.url(template)
    created = write_schema(read_role(url), read_entries(url))
    changed = difference(FILE.read_text(), created)
    assert not changed, f"migrations/schema.sql is out of date: run `make schema`.\n{changed}"


async def test_the_file_creates_the_same_database(postgres: Postgres, template: str) -> None:
    """Partitions, which the file leaves to extend_events, included."""
    async with fresh_database(postgres, "template0", "from_file") as settings:
        conn = await asyncpg.connect(settings.database_url)
        await conn.execute(FILE.read_text())
        await conn.execute("SELECT extend_events(4194304)")
        await conn.close()
        migrated, created = read_entries(postgres.url(template)), read_entries(settings.database_url)
    assert not difference(sorted_schema(migrated), sorted_schema(created))


async def test_every_table_has_a_comment(pool: Pool[Record]) -> None:
    assert await pool.fetch(WITHOUT_COMMENT) == []
