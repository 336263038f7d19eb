"""Reviewer record: how many tools a reviewer has a standing take on, and how many of those ship."""

from __future__ import annotations

from msgspec import Struct

from projections.engine.projection import Projection
from projections.engine.snapshot import Snapshot

REVIEWER_RECORD = Projection(
    name="reviewer_record",
    shape="sum",
    keys=("reviewer",),
    columns={
        "reviewer": "text",
        "shipped": "bigint NOT NULL",
        "skipped": "bigint NOT NULL",
        "revisions": "bigint NOT NULL",
    },
    select="""
        SELECT shard, data->>'reviewer' AS reviewer,
               count(*) FILTER (WHERE choice = 'ship') - count(*) FILTER (WHERE replaced = 'ship') AS shipped,
               count(*) FILTER (WHERE choice = 'skip') - count(*) FILTER (WHERE replaced = 'skip') AS skipped,
               count(*) AS revisions
          FROM events
         WHERE type IN ('TakePublished', 'TakeWithdrawn')
         GROUP BY shard, data->>'reviewer'
    """,
)

READ = "SELECT reviewer, shipped, skipped, revisions FROM reviewer_record"


class Standing(Struct, frozen=True):
    shipped: int = 0
    skipped: int = 0
    revisions: int = 0


async def read_records(snapshot: Snapshot) -> dict[str, Standing]:
    rows = await snapshot.fetch(REVIEWER_RECORD, READ)
    return {row[0]: Standing(row[1], row[2], row[3]) for row in rows}
