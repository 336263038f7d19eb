"""Moves and votes from Postgres: ranges of the log, several at a time, each in a short transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.log import HOUSE, Position, Shard
from projections.moves import MOVES, MOVES_BY_DAY, VOTES, Key, Moves, Votes
from projections.reading import as_read

RANGE_EVENTS = 500_000
PARALLEL = 2

# Of shard $1, what is after $2 and up to $3, in stretches of $4 seconds.
IN_RANGE = """
votes AS (
    SELECT shard, position, recorded_at, tool, choice, replaced, replaced_at,
           CAST(floor(date_part('epoch', recorded_at) / CAST($4 AS double precision)) AS integer) AS stretch
      FROM public.events
     WHERE shard = $1 AND position > $2 AND position <= $3 AND type IN ('VoteCast', 'VoteRetracted'))
"""
DOUBTFUL = "doubtful AS (SELECT * FROM unnest($5::integer[], $6::integer[]) AS d (tool, stretch))"
READ_MOVES = f"WITH {IN_RANGE} {MOVES}"
READ_MOVES_BY_DAY = f"WITH {IN_RANGE} {MOVES_BY_DAY}"
READ_VOTES = f"WITH {IN_RANGE}, {DOUBTFUL} {VOTES}"

# A plan is made without knowing how many of each there are, and groups may take their memory.
SESSION = """
SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off; SET LOCAL work_mem = '64MB';
SET LOCAL statement_timeout = '60s'
"""


class Range(Struct, frozen=True):
    """Of a shard, what is after a position and up to another."""

    shard: Shard
    after: int
    upto: int

    @property
    def count(self) -> int:
        return self.upto - self.after


Reading: TypeAlias = "Callable[[PoolConnectionProxy[Record], Range], Awaitable[None]]"


def ranges(positions: Sequence[Position], after: Mapping[Shard, int]) -> list[Range]:
    """What the people's shards hold up to these positions, but for what is up to ``after``; shards take turns."""
    cut = [
        Range(shard, start, min(start + RANGE_EVENTS, upto))
        for shard, upto in ((each.shard, each.number) for each in positions if each.shard != HOUSE)
        for start in range(after.get(shard, 0), upto, RANGE_EVENTS)
    ]
    return sorted(cut, key=lambda each: (each.after, each.shard))


class PostgresMoves:
    """Remembers which stretches a range has votes in, so that a range without doubtful ones is not read again."""

    def __init__(self, pool: Pool[Record], ranges: Sequence[Range], told: Callable[[int], None]) -> None:
        self._pool, self._ranges, self._told = pool, ranges, told
        self._stretches: dict[Range, set[int]] = {}

    async def read_moves(self, moves: Moves, seconds: float, *, by_day: bool) -> None:
        async def read(conn: PoolConnectionProxy[Record], each: Range) -> None:
            query, add = (READ_MOVES_BY_DAY, moves.add_by_day) if by_day else (READ_MOVES, moves.add)
            rows = await conn.fetch(as_read(query), each.shard, each.after, each.upto, seconds)
            for row in rows:
                add(*row)
            self._stretches[each] = {row[1] for row in rows}

        await self._each(self._ranges, read)

    async def read_votes(self, votes: Votes, seconds: float, doubtful: Sequence[Key]) -> None:
        async def read(conn: PoolConnectionProxy[Record], each: Range) -> None:
            here = [key for key in doubtful if key[1] in self._stretches[each]]
            tools, stretches = [tool for tool, _ in here], [stretch for _, stretch in here]
            bounds = (each.shard, each.after, each.upto)
            for row in await conn.fetch(as_read(READ_VOTES), *bounds, seconds, tools, stretches):
                votes.add(*row)

        asked = {stretch for _, stretch in doubtful}
        await self._each([each for each in self._ranges if asked & self._stretches[each]], read)

    async def _each(self, ranges: Sequence[Range], read: Reading) -> None:
        left = iter(ranges)
        await asyncio.gather(*(self._take_turns(left, read) for _ in range(PARALLEL)))

    async def _take_turns(self, left: Iterator[Range], read: Reading) -> None:
        for each in left:
            async with self._pool.acquire() as conn, conn.transaction(readonly=True):
                await conn.execute(SESSION)
                await read(conn, each)
            self._told(each.count)
