"""Install: the tables of the read models, made anew where their definition changed."""

from __future__ import annotations

from collections.abc import Sequence

from asyncpg import Connection, Record

from projections.engine.parked import forget
from projections.engine.projection import Projection

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
            await forget(conn, projection.name)
            if projection.view is None:
                await conn.execute(START_AGAIN, projection.name)
    return [projection.name for projection in fresh]


async def _drop_versions(conn: Connection[Record], projection: Projection) -> None:
    """What was rebuilt by another definition is of no use any more."""
    for each in (projection.shadow, projection.previous):
        await conn.execute(DROP_CHECKPOINTS, each.name)
        await forget(conn, each.name)
        await conn.execute(f"DROP TABLE IF EXISTS read_models.{each.name}")
    await conn.execute(CANCEL_REPLAYS, projection.name)
