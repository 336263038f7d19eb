"""Flip pieces: how much of the log is folded next, as a piece of its own order across shards.

Nothing of a piece lies after a place, and everything before that place is in it or in an earlier one. It ends at the latest
at an adoption, and before what this software cannot read.
"""

from __future__ import annotations

from collections.abc import Sequence

from asyncpg import Pool, Record

from domain.events.types import readable_types
from domain.shared.log import Position, Shard
from domain.timeline.flips import LogOrder
from projections.engine.blocked import BlockedByVersion
from projections.flips.store import AFTER_ALL, FAMILIES, NAME
from projections.flips.votes import Connection, PositionRanges

# An event that came with an earlier time than what has been folded: the clock was set back.
LATE = """
SELECT EXISTS (
    SELECT FROM flips_frontier AS f JOIN events AS e ON e.shard = f.shard AND e.position = f.position + 1
     WHERE e.recorded_at < (SELECT max(recorded_at) FROM flips_frontier))
"""
# Up to the positions $2 of the shards $1, at most $3 of each, and no further than ($4, $5, $6): the place that nothing of the
# piece lies after is looked for in each shard by halving, as in eventstore/as_of_positions.py.
PIECE = """
WITH RECURSIVE span AS MATERIALIZED (
    SELECT f.shard, f.position AS after, least(u.position, f.position + $3) AS most, u.position > f.position + $3 AS more
      FROM flips_frontier AS f JOIN unnest($1::smallint[], $2::bigint[]) AS u (shard, position) USING (shard)
     WHERE u.position > f.position
), ends AS (
    SELECT e.recorded_at, e.shard, e.position
      FROM span AS s JOIN events AS e ON e.shard = s.shard AND e.position = s.most WHERE s.more
     UNION ALL
    SELECT e.recorded_at, e.shard, e.position
      FROM span AS s
     CROSS JOIN LATERAL (
           SELECT e.recorded_at, e.shard, e.position FROM events AS e
            WHERE e.shard = s.shard AND e.position > s.after AND e.position <= s.most
              AND split_part(e.type, '.', 1) = 'RulebookAdopted'
            ORDER BY e.position LIMIT 1) AS e
     WHERE s.shard = 0
     UNION ALL
    SELECT $4::timestamptz, $5::smallint, $6::bigint
), last AS MATERIALIZED (
    SELECT recorded_at, shard, position FROM ends ORDER BY recorded_at, shard, position LIMIT 1
), halved (shard, after, low, high) AS (
    SELECT shard, after, after, most FROM span
     UNION ALL
    SELECT h.shard, h.after, CASE WHEN e.within THEN e.position ELSE h.low END,
           CASE WHEN e.within THEN h.high ELSE e.position - 1 END
      FROM halved AS h
     CROSS JOIN LATERAL (
           SELECT e.position, (e.recorded_at, e.shard, e.position) <= (l.recorded_at, l.shard, l.position) AS within
             FROM last AS l, events AS e
            WHERE e.shard = h.shard AND e.position = (h.low + h.high + 1) / 2
           OFFSET 0) AS e
     WHERE h.low < h.high
)
SELECT shard, after, low FROM halved WHERE low = high AND low > after ORDER BY shard
"""
# The first event of a piece that this software cannot read.
STOP = """
SELECT e.recorded_at, e.shard, e.position - 1
  FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS r (shard, after, upto)
  JOIN events AS e ON e.shard = r.shard AND e.position > r.after AND e.position <= r.upto
 WHERE e.type <> ALL ($4) AND split_part(e.type, '.', 1) = ANY ($5)
 ORDER BY 1, 2, 3 LIMIT 1
"""
STOPPED_AT = """
SELECT e.shard, e.position, e.type FROM flips_frontier AS f JOIN events AS e ON e.shard = f.shard AND e.position = f.position + 1
 WHERE e.type <> ALL ($1) AND split_part(e.type, '.', 1) = ANY ($2) ORDER BY e.shard
"""
# Some $3 of the votes that are in no course, up to the positions $2 of the shards $1, and of others to the frontier.
UNCOUNTED = """
SELECT f.shard, f.counted, least(coalesce(u.position, f.position), f.counted + $3 / (SELECT count(*) FROM flips_frontier))
  FROM flips_frontier AS f LEFT JOIN unnest($1::smallint[], $2::bigint[]) AS u (shard, position) USING (shard)
 WHERE coalesce(u.position, f.position) > f.counted ORDER BY f.shard
"""
UNDATED = """
SELECT f.shard, f.dated, least(coalesce(u.position, f.position), f.dated + $3 / (SELECT count(*) FROM flips_frontier))
  FROM flips_frontier AS f LEFT JOIN unnest($1::smallint[], $2::bigint[]) AS u (shard, position) USING (shard)
 WHERE coalesce(u.position, f.position) > f.dated ORDER BY f.shard
"""


async def is_late(conn: Connection) -> bool:
    """Whether an event has come that belongs before what has been folded."""
    return bool(await conn.fetchval(LATE))


async def next_batch(conn: Connection, upto: Sequence[Position], batch_events: int) -> PositionRanges:
    """From the frontier on, no further than ``upto``, some ``batch_events``. Empty where it cannot go on."""
    batch = await _batch(conn, upto, batch_events, AFTER_ALL)
    stop = await conn.fetchrow(STOP, *batch.columns, readable_types(FAMILIES), FAMILIES)
    if stop is None:
        return batch
    return await _batch(conn, upto, batch_events, LogOrder(stop[0], Shard(stop[1]), stop[2]))


async def read_flips_blocked(pool: Pool[Record]) -> list[BlockedByVersion]:
    """Where no flip is found any more, as far as this software can tell."""
    rows = await pool.fetch(STOPPED_AT, readable_types(FAMILIES), FAMILIES)
    return [BlockedByVersion(NAME, Position(Shard(row[0]), row[1]), row[2]) for row in rows]


async def uncounted(conn: Connection, upto: PositionRanges, most: int) -> PositionRanges:
    """Of the votes up to there, some ``most`` that no course has."""
    return _span(await conn.fetch(UNCOUNTED, upto.shards, upto.upto, most))


async def undated(conn: Connection, upto: PositionRanges, most: int) -> PositionRanges:
    return _span(await conn.fetch(UNDATED, upto.shards, upto.upto, most))


async def _batch(
    conn: Connection, upto: Sequence[Position], batch_events: int, end: LogOrder
) -> PositionRanges:
    shards, numbers = [each.shard for each in upto], [each.number for each in upto]
    most = _of_each(batch_events, upto)
    return _span(await conn.fetch(PIECE, shards, numbers, most, end.recorded_at, end.shard, end.number))


def _of_each(most: int, shards: Sequence[object]) -> int:
    return max(most // max(len(shards), 1), 1)


def _span(rows: Sequence[Record]) -> PositionRanges:
    return PositionRanges([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
