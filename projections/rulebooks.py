"""Rulebooks: those that editors wrote, beside the ones that come with Shiplog."""

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

READ = "SELECT rulebook, written_at FROM rulebooks WHERE shard = 0 ORDER BY position"
FIND = """
SELECT rulebook, written_at FROM rulebooks WHERE shard = 0 AND (digest = $1 OR name = $1) ORDER BY position DESC LIMIT 1
"""


class Known(Struct, frozen=True):
    """``written_at`` is None for what comes with Shiplog."""

    rulebook: Rulebook
    written_at: datetime | None


async def read_rulebooks(snapshot: Snapshot) -> list[Known]:
    """All that are known, those of Shiplog first, then in the order they were written."""
    written = [Known(_decoded(row[0]), row[1]) for row in await snapshot.fetch(RULEBOOKS, READ)]
    return [
        *(Known(book, None) for book in PRESETS.values()),
        *(each for each in written if each.rulebook.digest not in PRESETS_BY_DIGEST),
    ]


async def find_known(snapshot: Snapshot, wanted: str) -> Known:
    """By digest or by name, of which the newest. Raises Unknown."""
    of_shiplog = PRESETS_BY_DIGEST.get(wanted) or PRESETS.get(wanted)
    if of_shiplog is not None:
        return Known(of_shiplog, None)
    rows = await snapshot.fetch(RULEBOOKS, FIND, wanted)
    if not rows:
        raise Unknown(kind="rulebook", name=wanted)
    return Known(_decoded(rows[0][0]), rows[0][1])


async def find_rulebook(snapshot: Snapshot, wanted: str) -> Rulebook:
    """As ``find_known``."""
    return (await find_known(snapshot, wanted)).rulebook


@lru_cache(1_000)
def _decoded(stored: bytes) -> Rulebook:
    """One object for one rulebook, which keeps what it has worked out."""
    return decode_rulebook(stored)
