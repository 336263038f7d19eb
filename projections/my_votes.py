"""My votes: what one person's ballots say. Kept by the append itself, so always as fresh as the log."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Pool, Record
from msgspec import Struct

from domain.shared.log import Position, Shard
from domain.shared.types import Choice
from projections.engine.projection import Projection

# A ballot that was only ever retracted has no event, and stands at position 0.
MY_VOTES = Projection(
    name="my_votes",
    shape="last",
    keys=("actor", "tool"),
    columns={"actor": "uuid", "tool": "integer", "choice": "text", "position": "bigint"},
    select="""
        SELECT shard, actor, tool, choice, position
          FROM events
         WHERE type IN ('VoteCast', 'VoteRetracted')
    """,
    view="""
        SELECT shard, actor, tool, choice, position
          FROM public.standings
         WHERE kind = 'v' AND position > 0
    """,
)

READ = """
SELECT tool, choice, position FROM standings
 WHERE shard = $1 AND kind = 'v' AND actor = $2 AND choice IS NOT NULL
   AND ($3::integer[] IS NULL OR tool = ANY($3))
 ORDER BY position DESC
"""


class Vote(Struct, frozen=True):
    tool: int
    choice: Choice
    position: Position


async def read_votes(
    pool: Pool[Record], shard: Shard, actor: UUID, tools: Sequence[int] | None = None
) -> list[Vote]:
    """The standing ones, newest first; all of them when no tools are named."""
    rows = await pool.fetch(READ, shard, actor, None if tools is None else list(tools))
    return [Vote(row[0], row[1], Position(shard, row[2])) for row in rows]
