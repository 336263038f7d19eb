"""Storage on pages: rows that are updated often are updated in place (HOT), and new partitions are full and frozen once."""

from __future__ import annotations

from uuid import uuid4

import asyncpg

from domain.shared.log import Shard
from eventstore.casts import PendingCast, append_casts
from eventstore.ids import mint
from projections.engine.advance import advance
from projections.engine.registry import PROJECTIONS
from services.settings import Settings
from tests.support.stage import Log

READ_UPDATES = """
SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
 WHERE relname IN ('heads', 'checkpoints', 'tally', 'hourly_tally') ORDER BY relname
"""
READ_OPTIONS = "SELECT coalesce(reloptions, '{}') FROM pg_class WHERE oid = $1::regclass"


async def test_heads_checkpoints_and_tallies_are_updated_without_new_index_entries(
    settings: Settings, pool: Log
) -> None:
    for _ in range(40):
        async with pool.acquire() as conn:
            casts = [PendingCast("v", uuid4(), tool, "ship", mint(), "test") for tool in range(200)]
            await append_casts(conn, Shard(1), casts)
            await conn.execute("SELECT pg_stat_force_next_flush()")
        await advance(pool, PROJECTIONS, Shard(1))
    async with pool.acquire() as conn:
        await conn.execute("SELECT pg_stat_force_next_flush()")
    for name, updated, hot in await _read_updates(settings):
        assert updated > 30, name
        assert hot >= 0.9 * updated, name


async def _read_updates(settings: Settings) -> list[tuple[str, int, int]]:
    """Table, updates and HOT updates, as far as connections have flushed their statistics."""
    owner = await asyncpg.connect(settings.database_url)
    rows = await owner.fetch(READ_UPDATES)
    await owner.close()
    assert [row[0] for row in rows] == ["checkpoints", "heads", "hourly_tally", "tally"]
    return [(row[0], row[1], row[2]) for row in rows]


async def test_new_partitions_are_filled_completely_and_frozen_early(settings: Settings) -> None:
    owner = await asyncpg.connect(settings.database_url)
    await owner.execute("SELECT extend_events(3 * 4194304)")
    for number in range(4):
        assert "autovacuum_freeze_min_age=0" in await owner.fetchval(READ_OPTIONS, f"events_{number}")
        assert "fillfactor=100" in await owner.fetchval(READ_OPTIONS, f"events_{number}_pkey")
    assert "fillfactor=100" in await owner.fetchval(READ_OPTIONS, "standings")
    await owner.close()
