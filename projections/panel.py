"""Panel: the reviewers in the order of their seats, retired ones last."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

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
        "revision": "integer NOT NULL",
        "retired_at": "timestamptz",
        "position": "bigint NOT NULL",
    },
    select="""
        SELECT shard, position, data->>'slug' AS slug, CAST(data->>'seat' AS integer) AS seat,
               data->>'name' AS name, data->>'tagline' AS tagline, data->>'bio' AS bio,
               COALESCE(CAST(data->>'revision' AS integer), 1) AS revision,
               CASE WHEN type = 'ReviewerRetired' THEN recorded_at END AS retired_at
          FROM events
         WHERE tool IS NULL AND type IN ('ReviewerSeated', 'ReviewerRetired')
    """,
)

READ_PANEL = """
SELECT slug, name, tagline, bio, seat, revision, retired_at FROM panel ORDER BY retired_at IS NOT NULL, seat
"""


class Reviewer(Struct, frozen=True):
    slug: str
    name: str
    tagline: str
    bio: str
    seat: int
    revision: int
    retired_at: datetime | None


async def read_panel(snapshot: Snapshot) -> list[Reviewer]:
    """All reviewers, retired ones too."""
    return [Reviewer(*row) for row in await snapshot.fetch(PANEL, READ_PANEL)]


def seated(panel: Sequence[Reviewer]) -> list[Reviewer]:
    """The reviewers who are not retired."""
    return [each for each in panel if each.retired_at is None]
