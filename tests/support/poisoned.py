"""Grades: a read model with events that are poison to it, and an independent fold of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import asyncpg
import msgspec
from asyncpg import Pool, Record
from msgspec.structs import replace

from domain.shared.log import Shard
from projections.engine.install import install
from projections.engine.projection import Projection
from projections.engine.registry import PROJECTIONS
from services.settings import Settings

# A score that is 0 or not a number fails the SELECT. A missing score, alone on its tool, violates NOT NULL in the table.
GRADES = Projection(
    name="grades",
    shape="sum",
    keys=("tool",),
    columns={"tool": "integer", "parts": "bigint NOT NULL"},
    select="""
        SELECT shard, tool, CAST(sum(100 / CAST(data->>'score' AS integer)) AS bigint) AS parts
          FROM events WHERE type = 'Graded' GROUP BY shard, tool
    """,
)
FIXED = replace(
    GRADES,
    select="""
        SELECT shard, tool, CAST(sum(CASE WHEN data->>'score' ~ '^[1-9]' THEN 100 / CAST(data->>'score' AS integer)
                                          ELSE 0 END) AS bigint) AS parts
          FROM events WHERE type = 'Graded' GROUP BY shard, tool
    """,
)
BROKEN, MENDED = (GRADES, *PROJECTIONS), (FIXED, *PROJECTIONS)
POISON = ("x", "0", None)
# Events without a score have separate tools, numbered from here: sum() ignores a NULL among other values.
ALONE = 1_000_000

APPEND = """
WITH head AS (UPDATE heads SET position = position + cardinality($2::int[]), recorded_at = clock_timestamp()
               WHERE shard = $1 RETURNING position - cardinality($2::int[]) AS base)
INSERT INTO events (shard, position, recorded_at, type, tool, actor, id, origin, data)
SELECT $1, base + n, clock_timestamp(), 'Graded', tool, gen_random_uuid(), uuidv7(), 'test', data::jsonb
  FROM head, unnest($2::int[], $3::text[]) WITH ORDINALITY AS e (tool, data, n)
RETURNING position
"""
EMPTY = "TRUNCATE events, checkpoints, definitions, replays, replay_ranges; UPDATE heads SET position = 0"
PARKED = "SELECT shard, position FROM parked_events WHERE projection = $1 ORDER BY shard, position"
KEPT = "SELECT shard, tool, parts FROM read_models.grades"

Grade = tuple[int, int, int, str | None]  # shard, position, tool, score


async def install_grades(settings: Settings, *, empty: bool = False) -> None:
    """``empty``: delete the log and every read model first."""
    owner = await asyncpg.connect(settings.database_url)
    try:
        if empty:
            await owner.execute(EMPTY)
        await install(owner, BROKEN)
    finally:
        await owner.close()


async def append(log: Pool[Record], shard: Shard, scores: Iterable[tuple[int, str | None]]) -> list[Grade]:
    given = list(scores)
    tools = [tool for tool, _ in given]
    data = [msgspec.json.encode({"score": score}).decode() for _, score in given]
    positions = sorted(row[0] for row in await log.fetch(APPEND, shard, tools, data))
    return [(shard, position, tool, score) for position, (tool, score) in zip(positions, given, strict=True)]


def fold(grades: Iterable[Grade], *, poison: int | None = None) -> dict[tuple[int, int], int]:
    """``poison``: the value of a grade that cannot be folded; None leaves it out."""
    parts: Counter[tuple[int, int]] = Counter()
    for shard, _, tool, score in grades:
        if score not in POISON:
            parts[shard, tool] += 100 // int(score or 0)
        elif poison is not None:
            parts[shard, tool] += poison
    return dict(parts)


async def kept(log: Pool[Record]) -> dict[tuple[int, int], int]:
    return {(row[0], row[1]): row[2] for row in await log.fetch(KEPT)}


async def parked(log: Pool[Record], name: str = "grades") -> list[tuple[int, int]]:
    return [(row[0], row[1]) for row in await log.fetch(PARKED, name)]


def poison_of(grades: Iterable[Grade]) -> list[tuple[int, int]]:
    return sorted((shard, position) for shard, position, _, score in grades if score in POISON)
