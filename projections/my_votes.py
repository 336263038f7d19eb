"""My votes: one person's current votes. The append itself maintains them, so they are never behind the log."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Pool, Record
from msgspec import Struct

from domain.shared.log import Position, Shard
from domain.shared.types import Choice
from projections.engine.projection import Projection

# A ballot at position 0 has no event: it was retracted before it was ever cast.
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

READ_VOTES = """
SELECT tool, choice, position FROM standings
 WHERE shard = $1 AND kind = 'v' AND actor = $2 AND choice IS NOT NULL
   AND ($3::integer[] IS NULL OR tool = ANY($3))
 ORDER BY position DESC
"""


class CurrentVote(Struct, frozen=True):
    tool: int
    choice: Choice
    position: Position


async def read_votes(
    pool: Pool[Record], shard: Shard, actor: UUID, tools: Sequence[int] | None = None
) -> list[CurrentVote]:
    """Newest first, without retracted votes; of all tools when ``tools`` is None."""
    rows = await pool.fetch(READ_VOTES, shard, actor, None if tools is None else list(tools))
    return [CurrentVote(row[0], row[1], Position(shard, row[2])) for row in rows]
