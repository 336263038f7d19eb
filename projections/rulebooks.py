"""Rulebooks that editors have written. Reads include the presets."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from msgspec import Struct

from domain.editorial.adoptions import PRESETS_BY_DIGEST
from domain.rulebooks.presets import PRESETS
from domain.rulebooks.rulebook import Rulebook, decode_rulebook
from domain.shared.errors import Unknown
from projections.engine.projection import Projection
from projections.engine.snapshot import Snapshot

RULEBOOKS = Projection(
    name="rulebooks",
    shape="last",
    keys=("digest",),
    columns={
        "digest": "text",
        "name": "text NOT NULL",
        "rulebook": "jsonb NOT NULL",
        "written_at": "timestamptz NOT NULL",
        "position": "bigint NOT NULL",
    },
    select="""
        SELECT shard, position, data->>'digest' AS digest, data->'rulebook'->>'name' AS name,
               data->'rulebook' AS rulebook, recorded_at AS written_at
          FROM events
         WHERE type = 'RulebookWritten'
    """,
)

READ_WRITTEN_RULEBOOKS = "SELECT rulebook, written_at FROM rulebooks WHERE shard = 0 ORDER BY position"
FIND_RULEBOOK = """
SELECT rulebook, written_at FROM rulebooks WHERE shard = 0 AND (digest = $1 OR name = $1) ORDER BY position DESC LIMIT 1
"""


class KnownRulebook(Struct, frozen=True):
    """``written_at`` is None for a preset."""

    rulebook: Rulebook
    written_at: datetime | None


async def read_rulebooks(snapshot: Snapshot) -> list[KnownRulebook]:
    """The presets, then the others in the order they were written."""
    written = [
        KnownRulebook(_decoded(row[0]), row[1])
        for row in await snapshot.fetch(RULEBOOKS, READ_WRITTEN_RULEBOOKS)
    ]
    return [
        *(KnownRulebook(book, None) for book in PRESETS.values()),
        *(each for each in written if each.rulebook.digest not in PRESETS_BY_DIGEST),
    ]


async def find_known_rulebook(snapshot: Snapshot, wanted: str) -> KnownRulebook:
    """By digest, or the newest by name. Raises Unknown."""
    preset = PRESETS_BY_DIGEST.get(wanted) or PRESETS.get(wanted)
    if preset is not None:
        return KnownRulebook(preset, None)
    rows = await snapshot.fetch(RULEBOOKS, FIND_RULEBOOK, wanted)
    if not rows:
        raise Unknown(kind="rulebook", name=wanted)
    return KnownRulebook(_decoded(rows[0][0]), rows[0][1])


async def find_rulebook(snapshot: Snapshot, wanted: str) -> Rulebook:
    """By digest, or the newest by name. Raises Unknown."""
    return (await find_known_rulebook(snapshot, wanted)).rulebook


@lru_cache(1_000)
def _decoded(stored: bytes) -> Rulebook:
    """Cached, because a Rulebook caches its digest and other derived values."""
    return decode_rulebook(stored)
