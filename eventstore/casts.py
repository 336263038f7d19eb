"""Casts on their way into the log: a group to one shard in one statement, an answer for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.log import Position, Shard
from domain.votes import Outcome

APPEND_CASTS = """
SELECT outcome, position, id, choice, replaced
  FROM append_casts($1, $2::text[], $3::text[], $4::uuid[], $5::integer[], $6::text[], $7::uuid[], $8::text[])
"""

Kind = Literal["v", "b"]

_TYPES: dict[tuple[Kind, bool], str] = {
    ("v", True): "VoteCast",
    ("v", False): "VoteRetracted",
    ("b", True): "BookmarkSaved",
    ("b", False): "BookmarkDropped",
}


class Submitted(Struct, frozen=True):
    """A cast on a ballot ('v') or a bookmark ('b'); ``choice`` None takes it back.

    ``minted`` says that the id is the server's own, which may be minted anew if the ballot is ahead of it.
    """

    kind: Kind
    actor: UUID
    tool: int
    choice: str | None
    id: UUID
    origin: str
    minted: bool = False


class Stood(Struct, frozen=True):
    """The committed answer. Position, id and choice are the cast's, or those of the newer one it lost to."""

    outcome: Outcome
    position: Position
    id: UUID
    choice: str | None
    replaced: str | None


async def append_casts(
    conn: PoolConnectionProxy[Record], shard: Shard, casts: Sequence[Submitted]
) -> list[Stood]:
    """Append in the given order, in one transaction; answers in the same order, after the commit."""
    rows = await conn.fetch(
        APPEND_CASTS,
        shard,
        [cast.kind for cast in casts],
        [_TYPES[cast.kind, cast.choice is not None] for cast in casts],
        [cast.actor for cast in casts],
        [cast.tool for cast in casts],
        [cast.choice for cast in casts],
        [cast.id for cast in casts],
        [cast.origin for cast in casts],
    )
    return [Stood(row[0], Position(shard, row[1]), row[2], row[3], row[4]) for row in rows]
