"""Panel: the reviewers in the order of their seats."""

from __future__ import annotations

from msgspec import Struct

from projections.engine.projection import Projection
from projections.engine.snapshot import Snapshot

PANEL = Projection(
    name="panel",
    shape="last",
    keys=("slug",),
    columns={
        "slug": "text",
        "seat": "integer NOT NULL",
        "name": "text NOT NULL",
        "tagline": "text NOT NULL",
        "bio": "text NOT NULL",
        "position": "bigint NOT NULL",
    },
    select="""
        SELECT shard, position, data->>'slug' AS slug, CAST(data->>'seat' AS integer) AS seat,
               data->>'name' AS name, data->>'tagline' AS tagline, data->>'bio' AS bio
          FROM events
         WHERE type = 'ReviewerSeated'
    """,
)

READ_PANEL = "SELECT slug, name, tagline, bio FROM panel ORDER BY seat"


class Reviewer(Struct, frozen=True):
    slug: str
    name: str
    tagline: str
    bio: str


async def read_panel(snapshot: Snapshot) -> list[Reviewer]:
    return [Reviewer(*row) for row in await snapshot.fetch(PANEL, READ_PANEL)]
