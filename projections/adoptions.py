"""Adoptions: every rulebook that was adopted, rolled back, scheduled or called off; and the rulebook in force."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from asyncpg import Pool, Record
from msgspec import Struct

from domain.rulebooks.presets import DEFAULT
from domain.rulebooks.rulebook import Rulebook
from domain.shared.errors import Unknown
from domain.shared.log import EDITORIAL, Position
from projections.engine.projection import Projection
from projections.engine.snapshot import ReadModelBehind, Snapshot
from projections.rulebooks import RULEBOOKS, find_rulebook

AdoptionStep = Literal["adopted", "rolled-back", "scheduled", "called-off"]

ADOPTIONS = Projection(
    name="adoptions",
    shape="last",
    keys=("position",),
    columns={
        "position": "bigint",
        "digest": "text NOT NULL",
        "step": "text NOT NULL",
        "replaces": "text",
        "reason": "text",
        "effective_at": "timestamptz",
        "recorded_at": "timestamptz NOT NULL",
    },
    select="""
        SELECT shard, position, data->>'digest' AS digest,
               CASE WHEN type = 'AdoptionScheduled' THEN 'scheduled'
                    WHEN type = 'AdoptionCalledOff' THEN 'called-off'
                    WHEN data->>'rolls_back' = 'true' THEN 'rolled-back'
                    ELSE 'adopted' END AS step,
               data->>'replaces' AS replaces, data->>'reason' AS reason,
               CAST(data->>'effective_at' AS timestamptz) AS effective_at, recorded_at
          FROM events
         WHERE type IN ('RulebookAdopted', 'AdoptionScheduled', 'AdoptionCalledOff')
    """,
)

READ_DIGEST_IN_FORCE = """
SELECT digest FROM adoptions WHERE shard = 0 AND replaces IS NOT NULL ORDER BY position DESC LIMIT 1
"""
READ_ADOPTIONS = """
SELECT position, digest, step, replaces, reason, effective_at, recorded_at
  FROM adoptions WHERE shard = 0 ORDER BY position DESC
"""
# The read model may be behind: a worker that decides on this reads the log again.
IS_DUE = """
SELECT EXISTS (
       SELECT FROM (SELECT DISTINCT ON (digest) step, effective_at
                      FROM adoptions WHERE shard = 0 ORDER BY digest, position DESC) AS newest
        WHERE step = 'scheduled' AND effective_at <= $1)
"""

# Reading the rulebook in force needs both.
RULEBOOK_READ_MODELS = (RULEBOOKS, ADOPTIONS)


class Adoption(Struct, frozen=True):
    """``digest`` is the rulebook's; ``replaces`` is the digest of the rulebook in force before, if this replaced it."""

    position: Position
    digest: str
    step: AdoptionStep
    replaces: str | None
    reason: str | None
    effective_at: datetime | None
    recorded_at: datetime


async def rulebook_in_force(snapshot: Snapshot) -> Rulebook:
    """Raises ReadModelBehind when the read model of rulebooks is behind that of adoptions."""
    rows = await snapshot.fetch(ADOPTIONS, READ_DIGEST_IN_FORCE)
    if not rows:
        return DEFAULT
    try:
        return await find_rulebook(snapshot, rows[0][0])
    except Unknown:
        raise ReadModelBehind from None


async def read_adoptions(snapshot: Snapshot) -> list[Adoption]:
    """Newest first."""
    rows = await snapshot.fetch(ADOPTIONS, READ_ADOPTIONS)
    return [Adoption(Position(EDITORIAL, row[0]), *row[1:]) for row in rows]


def scheduled_adoptions(adoptions: list[Adoption]) -> dict[str, Adoption]:
    """The adoptions that are still to take effect, by digest. ``adoptions`` are newest first."""
    newest: dict[str, Adoption] = {}
    for each in adoptions:
        newest.setdefault(each.digest, each)
    return {digest: each for digest, each in newest.items() if each.step == "scheduled"}


async def is_due(pool: Pool[Record], now: datetime) -> bool:
    return bool(await pool.fetchval(IS_DUE, now))
