"""Scorecard: the newest take of each reviewer on each tool."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from domain.shared.types import Choice
from projections.engine.projection import Projection
from projections.engine.snapshot import Snapshot

# A withdrawn take keeps its row; its choice is NULL.
SCORECARD = Projection(
    name="scorecard",
    shape="last",
    keys=("tool", "reviewer"),
    columns={
        "tool": "integer",
        "reviewer": "text",
        "score": "integer",
        "choice": "text",
        "text": "text",
        "published_at": "timestamptz NOT NULL",
        "revision": "integer NOT NULL",
        "position": "bigint NOT NULL",
    },
    select="""
        SELECT shard, tool, position, data->>'reviewer' AS reviewer, choice, data->>'text' AS text,
               CAST(data->>'score' AS integer) AS score, CAST(data->>'revision' AS integer) AS revision,
               recorded_at AS published_at
          FROM events
         WHERE type IN ('TakePublished', 'TakeWithdrawn')
    """,
    indexes=("reviewer, tool",),
)

READ_TAKES = """
SELECT tool, reviewer, score, choice, text, published_at, revision
  FROM scorecard WHERE tool = ANY($1) AND choice IS NOT NULL
"""
READ_ALL_TAKES = """
SELECT tool, reviewer, score, choice, text, published_at, revision
  FROM scorecard WHERE choice IS NOT NULL
"""
READ_SPLITS = """
SELECT tool, count(*) FILTER (WHERE choice = 'ship'), count(*) FILTER (WHERE choice = 'skip'), sum(score)::bigint
  FROM scorecard WHERE choice IS NOT NULL GROUP BY tool
"""
READ_TAKES_OF_REVIEWER = """
SELECT tool, reviewer, score, choice, text, published_at, revision
  FROM scorecard WHERE reviewer = $1 AND choice IS NOT NULL ORDER BY published_at DESC, tool DESC
"""
READ_TAKE_HISTORY = """
SELECT data->>'score', choice, data->>'text', recorded_at, data->>'revision'
  FROM events WHERE shard = 0 AND tool = $1 AND type IN ('TakePublished', 'TakeWithdrawn')
   AND data->>'reviewer' = $2 ORDER BY position DESC
"""


class ScorecardTake(Struct, frozen=True):
    tool: int
    reviewer: str
    score: int
    choice: Choice
    text: str
    published_at: datetime
    revision: int


class PastTake(Struct, frozen=True):
    """One revision; ``choice`` is None if it withdrew the take."""

    score: int | None
    choice: Choice | None
    text: str | None
    published_at: datetime
    revision: int


async def read_takes(snapshot: Snapshot, tools: Sequence[int] | None = None) -> list[ScorecardTake]:
    rows = (
        await snapshot.fetch(SCORECARD, READ_ALL_TAKES)
        if tools is None
        else await snapshot.fetch(SCORECARD, READ_TAKES, list(tools))
    )
    return [ScorecardTake(*row) for row in rows]


async def read_splits(snapshot: Snapshot) -> dict[int, tuple[int, int, int]]:
    """(takes for ship, takes for skip, sum of the scores) of each tool with takes."""
    rows = await snapshot.fetch(SCORECARD, READ_SPLITS)
    return {tool: (ship, skip, scores) for tool, ship, skip, scores in rows}


async def read_takes_of(snapshot: Snapshot, reviewer: str) -> list[ScorecardTake]:
    return [ScorecardTake(*row) for row in await snapshot.fetch(SCORECARD, READ_TAKES_OF_REVIEWER, reviewer)]


async def read_take_history(snapshot: Snapshot, tool: int, reviewer: str) -> list[PastTake]:
    """Every revision, newest first, from the log."""
    rows = await snapshot.fetch(SCORECARD, READ_TAKE_HISTORY, tool, reviewer)
    return [PastTake(row[0] and int(row[0]), row[1], row[2], row[3], int(row[4])) for row in rows]
