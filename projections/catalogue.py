"""Catalogue: the newest revision of each tool's details."""

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

READ_ENTRIES = "SELECT tool, slug, revision, details, retired_at FROM catalogue WHERE tool = ANY($1)"
READ_ALL_ENTRIES = "SELECT tool, slug, revision, details, retired_at FROM catalogue"
READ_LISTED_TOOLS = "SELECT tool, slug, category FROM catalogue WHERE retired_at IS NULL"
READ_CATEGORIES = """
SELECT category AS slug, (array_agg(details->'category'->>'name' ORDER BY position DESC))[1] AS name, count(*) AS tools
  FROM catalogue WHERE retired_at IS NULL GROUP BY category ORDER BY name, slug
"""


class CatalogueEntry(Struct, frozen=True):
    """``tool`` is the position of the event that listed the tool, so newer tools have higher numbers."""

    tool: int
    slug: str
    revision: int
    details: Details
    retired_at: datetime | None


async def read_entries(snapshot: Snapshot, tools: Sequence[int] | None = None) -> list[CatalogueEntry]:
    rows = (
        await snapshot.fetch(CATALOGUE, READ_ALL_ENTRIES)
        if tools is None
        else await snapshot.fetch(CATALOGUE, READ_ENTRIES, list(tools))
    )
    return [_entry(row) for row in rows]


def _entry(row: Record) -> CatalogueEntry:
    return CatalogueEntry(row[0], row[1], row[2], msgspec.json.decode(row[3], type=Details), row[4])


async def read_listed(snapshot: Snapshot) -> list[tuple[int, str, str]]:
    """(tool, slug, slug of its category) of each tool that is not retired."""
    return [(row[0], row[1], row[2]) for row in await snapshot.fetch(CATALOGUE, READ_LISTED_TOOLS)]


async def read_categories(snapshot: Snapshot) -> list[tuple[Category, int]]:
    """Each category with its number of tools that are not retired, by name: the one that a tool was given last."""
    rows = await snapshot.fetch(CATALOGUE, READ_CATEGORIES)
    return [(Category(row[0], row[1]), row[2]) for row in rows]
