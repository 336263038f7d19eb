"""Verify flips: find them again from the first event on, in tables of this session's own, and name the rows that differ."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy

from domain.shared.log import Position
from projections.flips.advance import BATCH, fold_next
from projections.flips.store import BEGIN, NAME, read_frontier
from projections.replays.digests import Digest, describe_rows
from projections.replays.verify import ModelRecount

# Names without a schema mean these first. A changed path has every statement that was prepared before read again.
OWN = """
CREATE TEMP TABLE flips (LIKE read_models.flips INCLUDING ALL);
CREATE TEMP TABLE courses (LIKE read_models.courses INCLUDING ALL);
CREATE TEMP TABLE course_days (LIKE read_models.course_days INCLUDING ALL);
CREATE TEMP TABLE flips_frontier (LIKE read_models.flips_frontier INCLUDING ALL);
SET search_path = pg_temp, public, read_models
"""
FORGET_OWN = """
DROP TABLE IF EXISTS pg_temp.flips, pg_temp.courses, pg_temp.course_days, pg_temp.flips_frontier;
RESET search_path
"""
# Of what has been found since, nothing is looked at.
DIFFERENCES = """
WITH kept AS (
    SELECT f.* FROM read_models.flips AS f
      JOIN unnest($1::smallint[], $2::bigint[]) AS u (shard, position)
        ON f.shard = 0 AND u.shard = f.cause_shard AND f.cause_position <= u.position)
SELECT 'log' AS says, * FROM (SELECT * FROM pg_temp.flips EXCEPT SELECT * FROM kept) AS missing
 UNION ALL
SELECT 'read model', * FROM (SELECT * FROM kept EXCEPT SELECT * FROM pg_temp.flips) AS extra
"""
DIGEST = "SELECT count(*) AS rows, coalesce(sum(hashtextextended(f::text, 0)), 0) AS digest FROM pg_temp.flips AS f"


async def verify_flips(pool: Pool[Record]) -> ModelRecount:
    """Up to the frontier as it is now. May run beside workers; takes as long as finding all flips once."""
    frontier = await read_frontier(pool)
    async with _own_tables(pool) as conn:
        while await _fold_next(conn, frontier.positions) is not None:
            pass
        columns = [at.shard for at in frontier.positions], [at.number for at in frontier.positions]
        differing = await conn.fetch(DIFFERENCES, *columns)
        (row,) = await conn.fetch(DIGEST)
    digest = Digest(row["rows"], int(row["digest"]))
    return ModelRecount(NAME, str(frontier), str(digest), len(differing), describe_rows(differing))


@asynccontextmanager
async def _own_tables(pool: Pool[Record]) -> AsyncIterator[PoolConnectionProxy[Record]]:
    async with pool.acquire() as conn:
        try:
            await conn.execute(OWN)
            await conn.execute(BEGIN)
            yield conn
        finally:
            await conn.execute(FORGET_OWN)


async def _fold_next(conn: PoolConnectionProxy[Record], upto: Sequence[Position]) -> int | None:
    async with conn.transaction():
        return await fold_next(conn, upto, BATCH)
