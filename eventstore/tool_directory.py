"""Names: which tool a slug names, and whether it still takes votes. Read from the log, so never behind it."""

from __future__ import annotations

from collections.abc import Sequence

from asyncpg import Pool, Record
from msgspec import Struct

from domain.shared.errors import Retired, Unknown
from domain.shared.log import HOUSE

NAMED = """
SELECT s.tool, EXISTS (
           SELECT FROM events AS e
            WHERE e.shard = $2 AND e.shard = 0 AND e.tool = s.tool AND e.type = 'ToolRetired')
  FROM slugs AS s WHERE s.slug = $1
"""
SLUGS_OF = "SELECT tool, slug FROM slugs WHERE tool = ANY($1)"
HOUSE_HEAD = "SELECT position FROM heads WHERE shard = $1"


class Named(Struct, frozen=True):
    tool: int
    retired: bool


class Names:
    """Slugs looked up once, and again after anything happened in the house."""

    def __init__(self, pool: Pool[Record]) -> None:
        self._pool = pool
        self._known: dict[str, Named] = {}
        self._house_head = -1

    async def find(self, slug: str) -> Named:
        """Raises Unknown."""
        named = self._known.get(slug)
        if named is None:
            row = await self._pool.fetchrow(NAMED, slug, HOUSE)
            if row is None:
                raise Unknown(kind="tool", name=slug)
            named = self._known[slug] = Named(row[0], row[1])
        return named

    async def votable(self, slug: str) -> int:
        """The tool's number. Raises Unknown or Retired."""
        named = await self.find(slug)
        if named.retired:
            raise Retired(tool=slug)
        return named.tool

    def votable_now(self, slug: str) -> int | None:
        """The tool's number, if it is known without asking and takes votes."""
        named = self._known.get(slug)
        return None if named is None or named.retired else named.tool

    async def refresh(self) -> None:
        """Forget everything if the house has moved on."""
        head = await self._pool.fetchval(HOUSE_HEAD, HOUSE)
        if head != self._house_head:
            self._known.clear()
            self._house_head = head

    async def slugs_of(self, tools: Sequence[int]) -> dict[int, str]:
        """The slug of each tool number."""
        rows = await self._pool.fetch(SLUGS_OF, list(tools)) if tools else []
        return {row["tool"]: row["slug"] for row in rows}
