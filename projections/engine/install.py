"""Install: create the read models' tables, rebuild those whose definition changed, drop those no longer defined."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from asyncpg import Connection, Record

from eventstore.roles import become_app
from projections.engine.parked import delete_parked
from projections.engine.projection import Projection, replay_names

READ_DEFINITIONS = "SELECT projection, digest FROM definitions"
WRITE_DEFINITION = """
INSERT INTO definitions (projection, digest) VALUES ($1, $2)
ON CONFLICT (projection) DO UPDATE SET digest = excluded.digest
"""
DELETE_OBSOLETE_DEFINITIONS = "DELETE FROM definitions WHERE projection <> ALL ($1) RETURNING projection"
RESET_CHECKPOINTS = """
INSERT INTO checkpoints (shard, projection) SELECT shard, $1 FROM heads
ON CONFLICT (shard, projection) DO UPDATE SET position = 0
"""
DELETE_CHECKPOINTS = "DELETE FROM checkpoints WHERE projection = $1"
DELETE_VERIFICATIONS = "DELETE FROM verifications WHERE projection = $1"
CANCEL_REPLAYS = """
UPDATE replays SET state = 'cancelled', ended_at = clock_timestamp() WHERE projection = $1 AND ended_at IS NULL
"""
IS_VIEW = "SELECT EXISTS (SELECT FROM pg_views WHERE schemaname = 'read_models' AND viewname = $1)"


async def install(conn: Connection[Record], projections: Sequence[Projection]) -> list[str]:
    """Create the missing tables, and create again those whose definition changed. Returns the names of both."""
    known = {row[0]: row[1] for row in await conn.fetch(READ_DEFINITIONS)}
    changed = [projection for projection in projections if known.get(projection.name) != projection.digest]
    for projection in changed:
        async with conn.transaction():
            await become_app(conn, locally=True)
            await _drop_replays(conn, projection.name)
            await conn.execute(projection.drop)
            await conn.execute(projection.create)
            await conn.execute(WRITE_DEFINITION, projection.name, projection.digest)
            await delete_parked(conn, projection.name)
            if projection.view is None:
                await conn.execute(RESET_CHECKPOINTS, projection.name)
    return [projection.name for projection in changed]


async def drop_obsolete(conn: Connection[Record], names: Collection[str]) -> list[str]:
    """Drop every read model except ``names``, and its checkpoints and other records. Returns the dropped names.

    Processes of the previous release keep running: they advance only read models that have checkpoints.
    """
    async with conn.transaction():
        await become_app(conn, locally=True)
        obsolete = [row[0] for row in await conn.fetch(DELETE_OBSOLETE_DEFINITIONS, list(names))]
        for name in obsolete:
            await _drop_replays(conn, name)
            await conn.execute(DELETE_CHECKPOINTS, name)
            await conn.execute(DELETE_VERIFICATIONS, name)
            await delete_parked(conn, name)
            kind = "VIEW" if await conn.fetchval(IS_VIEW, name) else "TABLE"
            await conn.execute(f"DROP {kind} IF EXISTS read_models.{name}")
    return obsolete


async def _drop_replays(conn: Connection[Record], name: str) -> None:
    """Drop the versions that replays of the old definition built, and cancel those that are not finished."""
    for each in replay_names(name):
        await conn.execute(DELETE_CHECKPOINTS, each)
        await delete_parked(conn, each)
        await conn.execute(f"DROP TABLE IF EXISTS read_models.{each}")
    await conn.execute(CANCEL_REPLAYS, name)
