"""The engine: folds each read model's one SELECT over the next range of a shard, exactly once.

A projection is a SELECT over ``events``. The engine narrows ``events`` to a range and merges what the SELECT
gives into the read model's table; the text itself is the same for every range, live or recounted.
"""

from __future__ import annotations

from collections.abc import Sequence

from asyncpg import Connection, Pool, Record
from msgspec import Struct

from domain.log import Shard
from projections.projection import RANGE, Projection

# A shard is claimed whole, or not at all: read models that advance together stay at one position.
CLAIM = """
SELECT c.projection, c.position, h.position AS head
  FROM checkpoints AS c JOIN heads AS h USING (shard)
 WHERE c.shard = $1 AND c.position < h.position
   AND (SELECT pg_try_advisory_xact_lock(hashtext('shiplog advance'), $1))
   FOR NO KEY UPDATE OF c
"""
BEHIND = """
SELECT c.shard FROM checkpoints AS c JOIN heads AS h USING (shard)
 GROUP BY c.shard HAVING bool_or(c.position < h.position) ORDER BY c.shard
"""

READ_DEFINITIONS = "SELECT projection, digest FROM definitions"
WRITE_DEFINITION = """
INSERT INTO definitions (projection, digest) VALUES ($1, $2)
ON CONFLICT (projection) DO UPDATE SET digest = excluded.digest
"""
START_AGAIN = """
INSERT INTO checkpoints (shard, projection) SELECT shard, $1 FROM heads
ON CONFLICT (shard, projection) DO UPDATE SET position = 0
"""

DROP_CHECKPOINTS = "DELETE FROM checkpoints WHERE projection = $1"
CANCEL_REPLAYS = """
UPDATE replays SET state = 'cancelled', ended_at = clock_timestamp() WHERE projection = $1 AND ended_at IS NULL
"""

# How much of a shard one transaction folds: long enough to be cheap, short enough to be seen soon.
BATCH = 50_000


def versions(projections: Sequence[Projection]) -> list[Projection]:
    """Each live read model, and those beside it that a checkpoint may be kept for."""
    return [each for live in projections for each in (live, live.beside, live.last)]


class Advanced(Struct, frozen=True):
    """What one transaction moved: up to where, and by how many events."""

    shard: Shard
    position: int
    events: int


class CheckpointMoved(Exception):
    """Another worker advanced this read model first. Nothing was kept; try again from its checkpoint."""


async def install(conn: Connection[Record], projections: Sequence[Projection]) -> list[str]:
    """Create the tables; drop and start again those whose definition changed. Returns the names built anew."""
    known = {row[0]: row[1] for row in await conn.fetch(READ_DEFINITIONS)}
    fresh = [projection for projection in projections if known.get(projection.name) != projection.digest]
    for projection in fresh:
        async with conn.transaction():
            await conn.execute("SET LOCAL ROLE shiplog_app")
            await _drop_versions(conn, projection)
            await conn.execute(projection.drop)
            await conn.execute(projection.create)
            await conn.execute(WRITE_DEFINITION, projection.name, projection.digest)
            if projection.view is None:
                await conn.execute(START_AGAIN, projection.name)
    return [projection.name for projection in fresh]


async def _drop_versions(conn: Connection[Record], projection: Projection) -> None:
    """What was rebuilt by another definition is of no use any more."""
    for each in (projection.beside, projection.last):
        await conn.execute(DROP_CHECKPOINTS, each.name)
        await conn.execute(f"DROP TABLE IF EXISTS read_models.{each.name}")
    await conn.execute(CANCEL_REPLAYS, projection.name)


async def behind(pool: Pool[Record]) -> list[Shard]:
    """The shards with events that some read model has not folded."""
    return [Shard(row[0]) for row in await pool.fetch(BEHIND)]


async def advance(
    pool: Pool[Record], projections: Sequence[Projection], shard: Shard, *, batch: int = BATCH
) -> Advanced | None:
    """Move the shard's read models on by one range, in one transaction. None when there is nothing to claim.

    Those furthest behind move, and no further than to where the next ones wait for them: once at one
    position, all go on together.
    """
    async with pool.acquire() as conn, conn.transaction():
        claimed = {row["projection"]: row for row in await conn.fetch(CLAIM, shard)}
        due = [projection for projection in versions(projections) if projection.name in claimed]
        if not due:
            return None
        start = min(claimed[p.name]["position"] for p in due)
        moving = [p for p in due if claimed[p.name]["position"] == start]
        ahead = [claimed[p.name]["position"] for p in due if p not in moving]
        upto = min([*ahead, claimed[due[0].name]["head"], start + batch])
        names = [projection.name for projection in moving]
        if await conn.fetchval(fold(moving), shard, start, upto, names) != len(moving):
            raise CheckpointMoved
        return Advanced(shard, upto, upto - start)


def fold(projections: Sequence[Projection]) -> str:
    """Fold a range into all the tables and move their checkpoints; gives how many of these stood at its start."""
    merges = ", ".join(f"{projection.name} AS ({projection.merge})" for projection in projections)
    return f"""
        WITH {RANGE}, {merges}, moved AS (
            UPDATE checkpoints SET position = $3 WHERE shard = $1 AND position = $2 AND projection = ANY($4)
            RETURNING projection)
        SELECT count(*) FROM moved"""
