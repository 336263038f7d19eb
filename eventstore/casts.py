"""Casts on their way into the log: a group to one shard in one statement, an answer for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct
from msgspec.structs import replace

from domain.log import Position, Shard
from domain.votes import Outcome
from eventstore.ids import mint_after

APPEND_CASTS = """
SELECT ord, outcome, position, id, choice, replaced, changed
  FROM append_casts($1, $2::text[], $3::uuid[], $4::integer[], $5::text[], $6::uuid[], $7::text[])
"""

Kind = Literal["v", "b"]


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
    """Append casts in their order; answers in the same order, after the commit.

    A ballot's casts are decided one after the other, so a group is cut into rounds in which each ballot stands
    once: nearly always one round, one statement, one commit. When a call fails, some rounds may be in the log;
    sending the same ids again settles all of them.
    """
    answers: dict[int, Stood] = {}
    for numbers in _rounds(casts):
        group = [casts[number] for number in numbers]
        answers.update(zip(numbers, await _append_anew(conn, shard, group), strict=True))
    return [answers[number] for number in range(len(casts))]


def _rounds(casts: Sequence[Submitted]) -> list[list[int]]:
    """The n-th cast of a ballot is in the n-th round."""
    rounds: list[list[int]] = []
    met: dict[tuple[Kind, UUID, int], int] = {}
    for number, cast in enumerate(casts):
        ballot = (cast.kind, cast.actor, cast.tool)
        turn = met[ballot] = met.get(ballot, -1) + 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(number)
    return rounds


async def _append_anew(
    conn: PoolConnectionProxy[Record], shard: Shard, casts: Sequence[Submitted]
) -> list[Stood]:
    """Append a round; ids of our own that came out behind their ballot's are minted anew, and appended again."""
    stood = await _append(conn, shard, casts)
    behind = [n for n, cast in enumerate(casts) if cast.minted and stood[n].outcome == "superseded"]
    if behind:
        again = [replace(casts[n], id=mint_after(stood[n].id)) for n in behind]
        for n, answer in zip(behind, await _append_anew(conn, shard, again), strict=True):
            stood[n] = answer
    return stood


async def _append(conn: PoolConnectionProxy[Record], shard: Shard, casts: Sequence[Submitted]) -> list[Stood]:
    rows = await conn.fetch(
        APPEND_CASTS,
        shard,
        [cast.kind for cast in casts],
        [cast.actor for cast in casts],
        [cast.tool for cast in casts],
        [cast.choice for cast in casts],
        [cast.id for cast in casts],
        [cast.origin for cast in casts],
    )
    return _answers(shard, casts, rows)


def _answers(shard: Shard, casts: Sequence[Submitted], rows: Sequence[Record]) -> list[Stood]:
    """The first row holds the position before the group; the others answer casts whose ballot was not blank.

    Every other cast counted, replaced nothing, and has the next position.
    """
    told = {row[0]: row for row in rows}
    last = told[0][2]
    answers = []
    for number, cast in enumerate(casts, 1):
        row = told.get(number)
        if row is None:
            last += 1
            answers.append(Stood("counted", Position(shard, last), cast.id, cast.choice, None))
        else:
            last += row[6]
            answers.append(Stood(row[1], Position(shard, row[2]), row[3], row[4], row[5]))
    return answers
