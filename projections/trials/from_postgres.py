"""Vote events from Postgres: ranges of the log, several at a time, each in a short transaction."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.shared.log import EDITORIAL, Position, Shard
from projections.engine.upcasting import with_upcasts
from projections.trials.vote_deltas import FINER_BITS, Queries, SliceQuery

RANGE_EVENTS = 500_000
PARALLEL = 2

# The vote events of shard $1 after the position $2 and up to $3, in slices of $4 seconds.
IN_RANGE = """
every_vote AS (
    SELECT shard, position, recorded_at, tool, choice, replaced, replaced_at,
           CAST(floor(date_part('epoch', recorded_at) / CAST($4 AS double precision)) AS integer) AS slice
      FROM public.events
     WHERE shard = $1 AND position > $2 AND position <= $3 AND type IN ('VoteCast', 'VoteRetracted'))
"""
ALL_VOTES = f"WITH {IN_RANGE}, votes AS (SELECT * FROM every_vote)"
# Only those of the tools $5 in the slices $6, each of which is 2**$7 times as long.
WANTED_VOTES = f"""
WITH {IN_RANGE}, votes AS (
    SELECT every_vote.*
      FROM every_vote
      JOIN unnest($5::integer[], $6::integer[]) AS wanted (tool, number)
        ON wanted.tool = every_vote.tool AND wanted.number = every_vote.slice >> $7::integer)
"""

# The planner does not know the sizes of the arrays; grouping needs the memory; ranges are read in parallel already.
SET_PLANNER = """
SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off; SET LOCAL work_mem = '64MB';
SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL statement_timeout = '60s'
"""


class ShardRange(Struct, frozen=True):
    """The events of a shard after a position and up to another."""

    shard: Shard
    after: int
    upto: int

    @property
    def count(self) -> int:
        return self.upto - self.after


def ranges(positions: Sequence[Position], after: Mapping[Shard, int]) -> list[ShardRange]:
    """The voter shards after some positions and up to others, in ranges that alternate between shards."""
    cut = [
        ShardRange(shard, start, min(start + RANGE_EVENTS, upto))
        for shard, upto in ((each.shard, each.number) for each in positions if each.shard != EDITORIAL)
        for start in range(after.get(shard, 0), upto, RANGE_EVENTS)
    ]
    return sorted(cut, key=lambda each: (each.after, each.shard))


class PostgresVotes:
    """Remembers the slices that each range has votes in, so that later queries read only ranges with wanted slices."""

    def __init__(
        self, pool: Pool[Record], ranges: Sequence[ShardRange], add_progress: Callable[[int], None]
    ) -> None:
        self._pool, self._ranges, self._add_progress = pool, ranges, add_progress
        self._slices: dict[ShardRange, set[int]] = defaultdict(set)

    async def read(self, queries: Queries, selection: SliceQuery) -> None:
        remaining = iter(self._ranges_with(selection))
        await asyncio.gather(*(self._read_ranges(remaining, queries, selection) for _ in range(PARALLEL)))

    async def _read_ranges(
        self, remaining: Iterator[ShardRange], queries: Queries, selection: SliceQuery
    ) -> None:
        for shard_range in remaining:
            async with self._pool.acquire() as conn, conn.transaction(readonly=True):
                await conn.execute(SET_PLANNER)
                for query, add in queries:
                    for row in await self._fetch(conn, shard_range, query, selection):
                        add(*row)
            self._add_progress(shard_range.count)

    async def _fetch(
        self, conn: PoolConnectionProxy[Record], shard_range: ShardRange, query: str, selection: SliceQuery
    ) -> list[Record]:
        bounds = shard_range.shard, shard_range.after, shard_range.upto, selection.seconds
        if selection.wanted is None:
            rows = await conn.fetch(with_upcasts(f"{ALL_VOTES} {query}"), *bounds)
            self._slices[shard_range] |= {row["slice"] for row in rows}
            return rows
        wanted = [key for key in selection.wanted if self._has(shard_range, key[1], selection)]
        columns = [tool for tool, _ in wanted], [number for _, number in wanted]
        return await conn.fetch(with_upcasts(f"{WANTED_VOTES} {query}"), *bounds, *columns, selection.bits)

    def _ranges_with(self, selection: SliceQuery) -> list[ShardRange]:
        if selection.wanted is None:
            return list(self._ranges)
        numbers = {number for _, number in selection.wanted}
        return [
            each for each in self._ranges if any(self._has(each, number, selection) for number in numbers)
        ]

    def _has(self, shard_range: ShardRange, number: int, selection: SliceQuery) -> bool:
        """The numbers remembered are those of the longest slices."""
        return number >> (FINER_BITS - selection.bits) in self._slices[shard_range]
