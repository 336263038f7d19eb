"""Votes in a range of the log, as the flip engine needs them: counted into timelines, or read one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TypeAlias

from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.timeline.transitions import TRANSITIONS, VoteEvent
from domain.timeline.vote_delta import VotesByDay
from eventstore.sql import read_sql

Connection: TypeAlias = "PoolConnectionProxy[Record]"

COUNT_VOTES = read_sql(__file__, "count_votes")
DATE_VOTES = read_sql(__file__, "date_votes")
READ_VOTES = """
WITH casts AS NOT MATERIALIZED (
    SELECT e.*, CAST(floor(date_part('epoch', replaced_at) / 86400) AS integer) AS replaced_day
      FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS r (shard, after, upto)
      JOIN public.events AS e ON e.shard = r.shard AND e.position > r.after AND e.position <= r.upto
     WHERE e.type IN ('VoteCast', 'VoteRetracted')
)
SELECT tool, CAST(extract(epoch FROM recorded_at) * 1000000 AS bigint), shard, position, choice, replaced, replaced_day
  FROM casts WHERE tool = ANY($4) ORDER BY recorded_at, shard, position
"""


class PositionRanges(Struct, frozen=True):
    """By shard, the events after a position and up to another."""

    shards: list[int]
    after: list[int]
    upto: list[int]

    @property
    def columns(self) -> tuple[list[int], list[int], list[int]]:
        return self.shards, self.after, self.upto

    @property
    def events(self) -> int:
        return sum(self.upto) - sum(self.after)

    def range_of(self, shard: int) -> tuple[int, int] | None:
        if shard not in self.shards:
            return None
        at = self.shards.index(shard)
        return self.after[at], self.upto[at]


async def count_votes(conn: Connection, ranges: PositionRanges) -> list[Record]:
    """Add votes to the timelines. Returns a row per tool: its timeline before, and the delta."""
    return await conn.fetch(COUNT_VOTES, *ranges.columns)


async def date_votes(
    conn: Connection, ranges: PositionRanges
) -> tuple[dict[int, VotesByDay], dict[int, VotesByDay]]:
    """Add votes to the days of the timelines. Returns the votes added and removed, by tool."""
    added, removed = dict[int, VotesByDay](), dict[int, VotesByDay]()
    rows = await conn.fetch(DATE_VOTES, *ranges.columns)
    for tool, days, ship_in, skip_in, ship_out, skip_out in rows:
        added[tool], removed[tool] = VotesByDay(days, ship_in, skip_in), VotesByDay(days, ship_out, skip_out)
    return added, removed


async def read_votes(
    conn: Connection, ranges: PositionRanges, tools: Iterable[int]
) -> dict[int, list[VoteEvent]]:
    """By tool, in the order of the log."""
    votes = defaultdict[int, list[VoteEvent]](list)
    rows = await conn.fetch(READ_VOTES, *ranges.columns, list(tools))
    for tool, time, shard, number, choice, replaced, replaced_day in rows:
        votes[tool].append((time, shard, number, TRANSITIONS[choice, replaced], replaced_day))
    return votes
