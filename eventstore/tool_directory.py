"""Tool directory: the tool number of each slug, and whether the tool accepts votes, read from the log and cached."""

from __future__ import annotations

from collections.abc import Sequence

from asyncpg import Pool, Record
from msgspec import Struct

from domain.shared.errors import Retired, Unknown
from domain.shared.log import EDITORIAL

FIND_TOOL = """
SELECT s.tool, EXISTS (
           SELECT FROM events AS e
            WHERE e.shard = $2 AND e.shard = 0 AND e.tool = s.tool AND e.type = 'ToolRetired')
  FROM slugs AS s WHERE s.slug = $1
"""
READ_SLUGS = "SELECT tool, slug FROM slugs WHERE tool = ANY($1)"
READ_EDITORIAL_HEAD = "SELECT position FROM heads WHERE shard = $1"


class DirectoryEntry(Struct, frozen=True):
    tool: int
    retired: bool


class ToolDirectory:
    """A cache of slugs, cleared by ``refresh`` when the editorial shard has new events."""

    def __init__(self, pool: Pool[Record]) -> None:
        self._pool = pool
        self._known: dict[str, DirectoryEntry] = {}
        self._editorial_head = -1

    async def find(self, slug: str) -> DirectoryEntry:
        """Raises Unknown."""
        entry = self._known.get(slug)
        if entry is None:
            row = await self._pool.fetchrow(FIND_TOOL, slug, EDITORIAL)
            if row is None:
                raise Unknown(kind="tool", name=slug)
            entry = self._known[slug] = DirectoryEntry(row[0], row[1])
        return entry

    async def open_for_votes(self, slug: str) -> int:
        """The tool's number. Raises Unknown or Retired."""
        entry = await self.find(slug)
        if entry.retired:
            raise Retired(tool=slug)
        return entry.tool

    def known_open_for_votes(self, slug: str) -> int | None:
        """The tool's number if it is cached and accepts votes."""
        entry = self._known.get(slug)
        return None if entry is None or entry.retired else entry.tool

    async def refresh(self) -> None:
        """Clear the cache if the editorial shard has new events."""
        head = await self._pool.fetchval(READ_EDITORIAL_HEAD, EDITORIAL)
        if head != self._editorial_head:
            self._known.clear()
            self._editorial_head = head

    async def slugs_of(self, tools: Sequence[int]) -> dict[int, str]:
        """The slug of each tool number."""
        rows = await self._pool.fetch(READ_SLUGS, list(tools)) if tools else []
        return {row["tool"]: row["slug"] for row in rows}
