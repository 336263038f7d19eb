"""Flip votes: the votes of a span of the log, put into courses as numbers, or read one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TypeAlias

from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.timeline.transitions import TRANSITIONS, VoteEvent
from domain.timeline.vote_delta import VotesByDay

Connection: TypeAlias = "PoolConnectionProxy[Record]"

# All of the shards $1, after the positions $2 and up to $3. A day is a number of days since 1970-01-01, UTC.
# Gives of every tool that was voted on what came and went, and what stood before.
COUNT = """
WITH casts AS NOT MATERIALIZED (
    SELECT e.*, CAST(floor(date_part('epoch', recorded_at) / 86400) AS integer) AS day,
           CAST(floor(date_part('epoch', replaced_at) / 86400) AS integer) AS replaced_day
      FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS r (shard, after, upto)
      JOIN public.events AS e ON e.shard = r.shard AND e.position > r.after AND e.position <= r.upto
     WHERE e.type IN ('VoteCast', 'VoteRetracted')
), cells AS MATERIALIZED (
    SELECT tool, count(*) FILTER (WHERE choice = 'ship') AS ship_in, count(*) FILTER (WHERE replaced = 'ship') AS ship_out,
           count(*) FILTER (WHERE choice = 'skip') AS skip_in, count(*) FILTER (WHERE replaced = 'skip') AS skip_out,
           max(day) AS today
      FROM casts GROUP BY tool
), counted AS (
    INSERT INTO courses AS c (shard, tool, ship, skip, today)
    SELECT 0, tool, ship_in - ship_out, skip_in - skip_out, today FROM cells ORDER BY tool
    ON CONFLICT (shard, tool) DO UPDATE
       SET ship = c.ship + excluded.ship, skip = c.skip + excluded.skip, today = greatest(c.today, excluded.today)
    RETURNING new.tool, new.label, new.takes, coalesce(old.ship, 0) AS ship, coalesce(old.skip, 0) AS skip, old.today,
              new.first_day, new.aged_count, new.aged_ship, new.aged_skip
)
SELECT n.*, c.ship_in, c.ship_out, c.skip_in, c.skip_out, c.today AS until FROM cells AS c JOIN counted AS n USING (tool)
"""
# The same by the day of the casts that came or went; gives what moved.
DATE = """
WITH casts AS NOT MATERIALIZED (
    SELECT e.*, CAST(floor(date_part('epoch', recorded_at) / 86400) AS integer) AS day,
           CAST(floor(date_part('epoch', replaced_at) / 86400) AS integer) AS replaced_day
      FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS r (shard, after, upto)
      JOIN public.events AS e ON e.shard = r.shard AND e.position > r.after AND e.position <= r.upto
     WHERE e.type IN ('VoteCast', 'VoteRetracted')
), moves AS (
    SELECT tool, day, choice, NULL AS replaced FROM casts WHERE choice IS NOT NULL
     UNION ALL
    SELECT tool, replaced_day, NULL, replaced FROM casts WHERE replaced IS NOT NULL
), cells AS MATERIALIZED (
    SELECT tool, day, count(*) FILTER (WHERE choice = 'ship') AS ship_in,
           count(*) FILTER (WHERE replaced = 'ship') AS ship_out, count(*) FILTER (WHERE choice = 'skip') AS skip_in,
           count(*) FILTER (WHERE replaced = 'skip') AS skip_out
      FROM moves GROUP BY tool, day
), dated AS (
    INSERT INTO course_days AS d (shard, tool, day, ship, skip)
    SELECT 0, tool, day, ship_in - ship_out, skip_in - skip_out FROM cells ORDER BY tool, day
    ON CONFLICT (shard, tool, day) DO UPDATE SET ship = d.ship + excluded.ship, skip = d.skip + excluded.skip
)
SELECT tool, array_agg(day), array_agg(ship_in), array_agg(skip_in), array_agg(ship_out), array_agg(skip_out)
  FROM cells GROUP BY tool
"""
# What moved has its number in ``domain.timeline.transitions.MOVED``.
VOTES = """
WITH casts AS NOT MATERIALIZED (
    SELECT e.*, CAST(floor(date_part('epoch', replaced_at) / 86400) AS integer) AS replaced_day
      FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS r (shard, after, upto)
      JOIN public.events AS e ON e.shard = r.shard AND e.position > r.after AND e.position <= r.upto
     WHERE e.type IN ('VoteCast', 'VoteRetracted')
)
SELECT tool, CAST(extract(epoch FROM recorded_at) * 1000000 AS bigint), shard, position,
       CASE choice WHEN 'ship' THEN 1 WHEN 'skip' THEN 2 ELSE 0 END
       + CASE replaced WHEN 'ship' THEN 3 WHEN 'skip' THEN 6 ELSE 0 END, replaced_day
  FROM casts WHERE tool = ANY($4) ORDER BY recorded_at, shard, position
"""


class PositionRanges(Struct, frozen=True):
    """Of some shards, what comes after a position and up to another."""

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


async def count_votes(conn: Connection, span: PositionRanges) -> list[Record]:
    """Put them into the courses. Gives a row a tool: its course as it was, and the numbers of its cell."""
    return await conn.fetch(COUNT, *span.columns)


async def date_votes(
    conn: Connection, span: PositionRanges
) -> tuple[dict[int, VotesByDay], dict[int, VotesByDay]]:
    """Put them into the courses' days. Gives what came and what went of each tool, by the days of the casts."""
    added, removed = dict[int, VotesByDay](), dict[int, VotesByDay]()
    for tool, days, ship_in, skip_in, ship_out, skip_out in await conn.fetch(DATE, *span.columns):
        added[tool], removed[tool] = VotesByDay(days, ship_in, skip_in), VotesByDay(days, ship_out, skip_out)
    return added, removed


async def read_votes(
    conn: Connection, span: PositionRanges, tools: Iterable[int]
) -> dict[int, list[VoteEvent]]:
    """Of each of these tools, in the log's own order."""
    votes = defaultdict[int, list[VoteEvent]](list)
    for tool, moment, shard, position, moved, replaced_day in await conn.fetch(
        VOTES, *span.columns, list(tools)
    ):
        votes[tool].append((moment, shard, position, TRANSITIONS[moved], replaced_day))
    return votes
