"""Moves and votes from Postgres: ranges of the log, several at a time, each in a short transaction."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.shared.log import EDITORIAL, Position, Shard
from projections.engine.upcasting import with_upcasts
from projections.trials.vote_deltas import FINER, Queries, SliceQuery, SliceVotes, VoteDeltas

RANGE_EVENTS = 500_000
PARALLEL = 2

# Of shard $1, what is after $2 and up to $3, in stretches of $4 seconds.
IN_RANGE = """
every_vote AS (
    SELECT shard, position, recorded_at, tool, choice, replaced, replaced_at,
           CAST(floor(date_part('epoch', recorded_at) / CAST($4 AS double precision)) AS integer) AS stretch
      FROM public.events
     WHERE shard = $1 AND position > $2 AND position <= $3 AND type IN ('VoteCast', 'VoteRetracted'))
"""
ALL = f"WITH {IN_RANGE}, votes AS (SELECT * FROM every_vote)"
# Of the tools $5 in the stretches $6, which are $7 bits wider.
WANTED = f"""
WITH {IN_RANGE}, votes AS (
    SELECT every_vote.*
      FROM every_vote
      JOIN unnest($5::integer[], $6::integer[]) AS wanted (tool, number)
        ON wanted.tool = every_vote.tool AND wanted.number = every_vote.stretch >> $7::integer)
"""

# A plan is made without knowing how many of each there are, groups may take their memory, and both cores are at work.
SESSION = """
SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off; SET LOCAL work_mem = '64MB';
SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL statement_timeout = '60s'
"""


class Range(Struct, frozen=True):
    """Of a shard, what is after a position and up to another."""

    shard: Shard
    after: int
    upto: int

    @property
    def count(self) -> int:
        return self.upto - self.after


def ranges(positions: Sequence[Position], after: Mapping[Shard, int]) -> list[Range]:
    """What the people's shards hold up to these positions, but for what is up to ``after``; shards take turns."""
    cut = [
        Range(shard, start, min(start + RANGE_EVENTS, upto))
        for shard, upto in ((each.shard, each.number) for each in positions if each.shard != EDITORIAL)
        for start in range(after.get(shard, 0), upto, RANGE_EVENTS)
    ]
    return sorted(cut, key=lambda each: (each.after, each.shard))


class PostgresVoteDeltas:
    """Remembers which stretches a range has votes in, so that it is not read again for nothing."""

    def __init__(self, pool: Pool[Record], ranges: Sequence[Range], told: Callable[[int], None]) -> None:
        self._pool, self._ranges, self._told = pool, ranges, told
        self._numbers: dict[Range, set[int]] = defaultdict(set)

    async def read_moves(self, moves: VoteDeltas, ask: SliceQuery) -> None:
        await self._read(moves.queries(by_day=ask.by_day), ask)

    async def read_votes(self, votes: SliceVotes, ask: SliceQuery) -> None:
        await self._read(votes.queries, ask)

    async def _read(self, queries: Queries, ask: SliceQuery) -> None:
        left = iter(self._concerned(ask))
        await asyncio.gather(*(self._take_turns(left, queries, ask) for _ in range(PARALLEL)))

    async def _take_turns(self, left: Iterator[Range], queries: Queries, ask: SliceQuery) -> None:
        for each in left:
            async with self._pool.acquire() as conn, conn.transaction(readonly=True):
                await conn.execute(SESSION)
                for query, add in queries:
                    for row in await self._fetch(conn, each, query, ask):
                        add(*row)
            self._told(each.count)

    async def _fetch(
        self, conn: PoolConnectionProxy[Record], each: Range, query: str, ask: SliceQuery
    ) -> list[Record]:
        bounds = each.shard, each.after, each.upto, ask.seconds
        if ask.wanted is None:
            rows = await conn.fetch(with_upcasts(f"{ALL} {query}"), *bounds)
            self._numbers[each] |= {row["stretch"] for row in rows}
            return rows
        here = [key for key in ask.wanted if self._has(each, key[1], ask)]
        columns = [tool for tool, _ in here], [number for _, number in here]
        return await conn.fetch(with_upcasts(f"{WANTED} {query}"), *bounds, *columns, ask.bits)

    def _concerned(self, ask: SliceQuery) -> list[Range]:
        if ask.wanted is None:
            return list(self._ranges)
        asked = {number for _, number in ask.wanted}
        return [each for each in self._ranges if any(self._has(each, number, ask) for number in asked)]

    def _has(self, each: Range, number: int, ask: SliceQuery) -> bool:
        """Numbers are remembered of the widest stretches."""
        return number >> (FINER - ask.bits) in self._numbers[each]
