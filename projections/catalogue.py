"""Catalogue: what each tool is, newest revision."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from asyncpg import Record
from msgspec import Struct

from domain.events.editorial import Category, Details
from projections.engine.projection import Projection
from projections.engine.snapshot import Snapshot

CATALOGUE = Projection(
    name="catalogue",
    shape="last",
    keys=("tool",),
    columns={
        "tool": "integer",
        "slug": "text NOT NULL",
        "category": "text NOT NULL",
        "revision": "integer NOT NULL",
        "details": "jsonb NOT NULL",
        "retired_at": "timestamptz",
        "position": "bigint NOT NULL",
    },
    select="""
        SELECT shard, tool, position, data->>'slug' AS slug, data->'details'->'category'->>'slug' AS category,
               CAST(data->>'revision' AS integer) AS revision, data->'details' AS details,
               CASE WHEN type = 'ToolRetired' THEN recorded_at END AS retired_at
          FROM events
         WHERE type IN ('ToolListed', 'ToolRevised', 'ToolRetired')
    """,
    indexes=("slug", "category, tool"),
)

READ = "SELECT tool, slug, revision, details, retired_at FROM catalogue WHERE tool = ANY($1)"
READ_ALL = "SELECT tool, slug, revision, details, retired_at FROM catalogue"
READ_LISTED = "SELECT tool, slug, category FROM catalogue WHERE retired_at IS NULL"
READ_CATEGORIES = """
SELECT details->'category' AS category, count(*) AS tools
  FROM catalogue WHERE retired_at IS NULL GROUP BY 1 ORDER BY details->'category'->>'name'
"""


class Entry(Struct, frozen=True):
    """``tool`` is the number the log knows the tool by: the position of its listing, so newer tools have higher ones."""

    tool: int
    slug: str
    revision: int
    details: Details
    retired_at: datetime | None


async def read_entries(snapshot: Snapshot, tools: Sequence[int] | None = None) -> list[Entry]:
    rows = (
        await snapshot.fetch(CATALOGUE, READ_ALL)
        if tools is None
        else await snapshot.fetch(CATALOGUE, READ, list(tools))
    )
    return [_entry(row) for row in rows]


def _entry(row: Record) -> Entry:
    return Entry(row[0], row[1], row[2], msgspec.json.decode(row[3], type=Details), row[4])


async def read_listed(snapshot: Snapshot) -> list[tuple[int, str, str]]:
    """(tool, slug, category's slug) of each tool that is not retired."""
    return [(row[0], row[1], row[2]) for row in await snapshot.fetch(CATALOGUE, READ_LISTED)]


async def read_categories(snapshot: Snapshot) -> list[tuple[Category, int]]:
    """Categories in use, by name, with how many tools stand in each."""
    rows = await snapshot.fetch(CATALOGUE, READ_CATEGORIES)
    return [(msgspec.json.decode(row[0], type=Category), row[1]) for row in rows]
