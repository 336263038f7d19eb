"""Room on pages: what is updated all the time is updated in place (HOT), and what is appended is frozen once."""

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

UPDATED = """
SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
 WHERE relname IN ('heads', 'checkpoints', 'tally', 'hourly_tally') ORDER BY relname
"""
OPTIONS = "SELECT coalesce(reloptions, '{}') FROM pg_class WHERE oid = $1::regclass"


async def test_heads_checkpoints_and_sums_are_updated_without_an_index_entry(
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
    for name, updated, hot in await _updated(settings):
        assert updated > 30, name
        assert hot >= 0.9 * updated, name


async def _updated(settings: Settings) -> list[tuple[str, int, int]]:
    """As the server has been told by every connection that is now closed or has flushed."""
    owner = await asyncpg.connect(settings.database_url)
    rows = await owner.fetch(UPDATED)
    await owner.close()
    assert [row[0] for row in rows] == ["checkpoints", "heads", "hourly_tally", "tally"]
    return [(row[0], row[1], row[2]) for row in rows]


async def test_new_partitions_are_full_and_frozen_at_once(settings: Settings) -> None:
    owner = await asyncpg.connect(settings.database_url)
    await owner.execute("SELECT extend_events(3 * 4194304)")
    for number in range(4):
        assert "autovacuum_freeze_min_age=0" in await owner.fetchval(OPTIONS, f"events_{number}")
        assert "fillfactor=100" in await owner.fetchval(OPTIONS, f"events_{number}_pkey")
    assert "fillfactor=100" in await owner.fetchval(OPTIONS, "standings")
    await owner.close()
