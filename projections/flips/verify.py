"""Verification of the flip log: find all flips again in temporary tables, and name the rows that differ."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy

from domain.shared.log import Position
from projections.flips.advance import BATCH_EVENTS, fold_next
from projections.flips.store import NAME, START_FRONTIER, read_frontier
from projections.replays.digests import Digest, describe_rows
from projections.replays.verify import ModelRecount

# Under this search path unqualified names mean these tables. The change makes Postgres replan prepared statements.
CREATE_TEMPORARY_TABLES = """
CREATE TEMP TABLE flips (LIKE read_models.flips INCLUDING ALL);
CREATE TEMP TABLE verdict_timelines (LIKE read_models.verdict_timelines INCLUDING ALL);
CREATE TEMP TABLE timeline_days (LIKE read_models.timeline_days INCLUDING ALL);
CREATE TEMP TABLE flips_frontier (LIKE read_models.flips_frontier INCLUDING ALL);
SET search_path = pg_temp, public, read_models
"""
DROP_TEMPORARY_TABLES = """
DROP TABLE IF EXISTS pg_temp.flips, pg_temp.verdict_timelines, pg_temp.timeline_days, pg_temp.flips_frontier;
RESET search_path
"""
# Flips found after the positions $2 of the shards $1 are left out.
FIND_DIFFERENCES = """
WITH kept AS (
    SELECT f.* FROM read_models.flips AS f
      JOIN unnest($1::smallint[], $2::bigint[]) AS u (shard, position)
        ON f.shard = 0 AND u.shard = f.cause_shard AND f.cause_position <= u.position)
SELECT 'log' AS says, * FROM (SELECT * FROM pg_temp.flips EXCEPT SELECT * FROM kept) AS missing
 UNION ALL
SELECT 'read model', * FROM (SELECT * FROM kept EXCEPT SELECT * FROM pg_temp.flips) AS extra
"""
DIGEST_FLIPS = "SELECT count(*) AS rows, coalesce(sum(hashtextextended(f::text, 0)), 0) AS digest FROM pg_temp.flips AS f"


async def verify_flips(pool: Pool[Record]) -> ModelRecount:
    """Up to the current frontier, while workers continue. It takes as long as finding all flips once."""
    frontier = await read_frontier(pool)
    async with _temporary_tables(pool) as conn:
        while await _fold_next(conn, frontier.positions) is not None:
            pass
        columns = [at.shard for at in frontier.positions], [at.number for at in frontier.positions]
        differing = await conn.fetch(FIND_DIFFERENCES, *columns)
        (row,) = await conn.fetch(DIGEST_FLIPS)
    digest = Digest(row["rows"], int(row["digest"]))
    return ModelRecount(NAME, str(frontier), str(digest), len(differing), describe_rows(differing))


@asynccontextmanager
async def _temporary_tables(pool: Pool[Record]) -> AsyncIterator[PoolConnectionProxy[Record]]:
    async with pool.acquire() as conn:
        try:
            await conn.execute(CREATE_TEMPORARY_TABLES)
            await conn.execute(START_FRONTIER)
            yield conn
        finally:
            await conn.execute(DROP_TEMPORARY_TABLES)


async def _fold_next(conn: PoolConnectionProxy[Record], upto: Sequence[Position]) -> int | None:
    async with conn.transaction():
        return await fold_next(conn, upto, BATCH_EVENTS)
