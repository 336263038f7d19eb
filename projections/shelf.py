"""Shelf: the tools that one person saved, maintained by the append itself; with their notes, which are not in the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Pool, Record
from msgspec import Struct

from domain.shared.log import Position, Shard
from projections.engine.projection import Projection

SHELF = Projection(
    name="shelf",
    shape="last",
    keys=("actor", "tool"),
    columns={"actor": "uuid", "tool": "integer", "choice": "text", "position": "bigint"},
    select="""
        SELECT shard, actor, tool, choice, position
          FROM events
         WHERE type IN ('BookmarkSaved', 'BookmarkDropped')
    """,
    view="""
        SELECT shard, actor, tool, choice, position
          FROM public.standings
         WHERE kind = 'b' AND position > 0
    """,
)

READ_SHELF = """
SELECT s.tool, s.position, e.recorded_at, coalesce(n.note, ''), coalesce(n.tags, '{}')
  FROM standings AS s
  JOIN events AS e ON e.shard = s.shard AND e.position = s.position
  LEFT JOIN notes AS n ON n.shard = s.shard AND n.actor = s.actor AND n.tool = s.tool
 WHERE s.shard = $1 AND s.kind = 'b' AND s.actor = $2 AND s.choice IS NOT NULL
 ORDER BY s.position DESC
"""
PUT_NOTE = """
INSERT INTO notes (shard, actor, tool, note, tags) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (shard, actor, tool) DO UPDATE SET note = excluded.note, tags = excluded.tags
"""
DELETE_NOTE = "DELETE FROM notes WHERE shard = $1 AND actor = $2 AND tool = $3"


class ShelfEntry(Struct, frozen=True):
    tool: int
    position: Position
    saved_at: datetime
    note: str
    tags: list[str]


async def read_shelf(pool: Pool[Record], shard: Shard, actor: UUID) -> list[ShelfEntry]:
    """Newest first."""
    rows = await pool.fetch(READ_SHELF, shard, actor)
    return [ShelfEntry(row[0], Position(shard, row[1]), row[2], row[3], row[4]) for row in rows]


async def put_note(
    pool: Pool[Record], shard: Shard, actor: UUID, tool: int, note: str, tags: Sequence[str]
) -> None:
    await pool.execute(PUT_NOTE, shard, actor, tool, note, list(tags))


async def delete_note(pool: Pool[Record], shard: Shard, actor: UUID, tool: int) -> None:
    await pool.execute(DELETE_NOTE, shard, actor, tool)
