"""Batches of the flip engine: the events to fold next, which are consecutive in the order of the log across shards.

A batch ends at some event of that order: all events up to it are in this batch or in an earlier one, and none after it. It
ends at the latest at an adoption, and before an event that this release cannot read.
"""

from __future__ import annotations

from collections.abc import Sequence

from asyncpg import Pool, Record

from domain.events.types import readable_types
from domain.shared.log import Position, Shard
from domain.timeline.flips import LogOrder
from eventstore.as_of_positions import SEARCH_RANGES
from projections.engine.blocked import BlockedByVersion
from projections.flips.store import AFTER_ALL, FAMILIES, NAME
from projections.flips.votes import Connection, PositionRanges

# Whether the next event of a shard is older than one already folded, as after the clock was set back.
FIND_LATE = """
SELECT EXISTS (
    SELECT FROM flips_frontier AS f JOIN events AS e ON e.shard = f.shard AND e.position = f.position + 1
     WHERE e.recorded_at < (SELECT max(recorded_at) FROM flips_frontier))
"""
# From the frontier up to the positions $2 of the shards $1, at most $3 events of each. In the log's order the batch ends
# at the earliest of these: ($4, $5, $6), the last event of a shard that has more than $3, the first adoption.
NEXT_BATCH = f"""
WITH RECURSIVE ranges AS MATERIALIZED (
    SELECT f.shard, f.position AS low, least(u.position, f.position + $3) AS high, u.position > f.position + $3 AS more
      FROM flips_frontier AS f JOIN unnest($1::smallint[], $2::bigint[]) AS u (shard, position) USING (shard)
     WHERE u.position > f.position
), ends AS (
    SELECT e.recorded_at, e.shard, e.position
      FROM ranges AS r JOIN events AS e ON e.shard = r.shard AND e.position = r.high WHERE r.more
     UNION ALL
    SELECT e.recorded_at, e.shard, e.position
      FROM ranges AS r
     CROSS JOIN LATERAL (
           SELECT e.recorded_at, e.shard, e.position FROM events AS e
            WHERE e.shard = r.shard AND e.position > r.low AND e.position <= r.high
              AND split_part(e.type, '.', 1) = 'RulebookAdopted'
            ORDER BY e.position LIMIT 1) AS e
     WHERE r.shard = 0
     UNION ALL
    SELECT $4::timestamptz, $5::smallint, $6::bigint
), bound AS MATERIALIZED (
    SELECT recorded_at, shard, position FROM ends ORDER BY recorded_at, shard, position LIMIT 1
), {SEARCH_RANGES}
SELECT s.shard, r.low, s.low FROM searched AS s JOIN ranges AS r USING (shard)
 WHERE s.low = s.high AND s.low > r.low ORDER BY s.shard
"""
# The position before the first event of a batch that this release cannot read.
FIND_UNREADABLE = """
SELECT e.recorded_at, e.shard, e.position - 1
  FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS r (shard, after, upto)
  JOIN events AS e ON e.shard = r.shard AND e.position > r.after AND e.position <= r.upto
 WHERE e.type <> ALL ($4) AND split_part(e.type, '.', 1) = ANY ($5)
 ORDER BY 1, 2, 3 LIMIT 1
"""
READ_BLOCKED = """
SELECT e.shard, e.position, e.type FROM flips_frontier AS f JOIN events AS e ON e.shard = f.shard AND e.position = f.position + 1
 WHERE e.type <> ALL ($1) AND split_part(e.type, '.', 1) = ANY ($2) ORDER BY e.shard
"""
# At most $3 events whose votes are not in the timelines, up to the positions $2 of the shards $1, or else to the frontier.
FIND_UNCOUNTED = """
SELECT f.shard, f.counted, least(coalesce(u.position, f.position), f.counted + $3 / (SELECT count(*) FROM flips_frontier))
  FROM flips_frontier AS f LEFT JOIN unnest($1::smallint[], $2::bigint[]) AS u (shard, position) USING (shard)
 WHERE coalesce(u.position, f.position) > f.counted ORDER BY f.shard
"""
FIND_UNDATED = """
SELECT f.shard, f.dated, least(coalesce(u.position, f.position), f.dated + $3 / (SELECT count(*) FROM flips_frontier))
  FROM flips_frontier AS f LEFT JOIN unnest($1::smallint[], $2::bigint[]) AS u (shard, position) USING (shard)
 WHERE coalesce(u.position, f.position) > f.dated ORDER BY f.shard
"""


async def is_late(conn: Connection) -> bool:
    """Whether an event was appended that belongs before one already folded."""
    return bool(await conn.fetchval(FIND_LATE))


async def next_batch(conn: Connection, upto: Sequence[Position], batch_events: int) -> PositionRanges:
    """From the frontier up to ``upto``, about ``batch_events``. Empty where nothing can be folded."""
    batch = await _batch(conn, upto, batch_events, AFTER_ALL)
    unreadable = await conn.fetchrow(FIND_UNREADABLE, *batch.columns, readable_types(FAMILIES), FAMILIES)
    if unreadable is None:
        return batch
    return await _batch(
        conn, upto, batch_events, LogOrder(unreadable[0], Shard(unreadable[1]), unreadable[2])
    )


async def read_flips_blocked(pool: Pool[Record]) -> list[BlockedByVersion]:
    """The events of a newer release that the flip engine stops before."""
    rows = await pool.fetch(READ_BLOCKED, readable_types(FAMILIES), FAMILIES)
    return [BlockedByVersion(NAME, Position(Shard(row[0]), row[1]), row[2]) for row in rows]


async def uncounted(conn: Connection, upto: PositionRanges, batch_events: int) -> PositionRanges:
    """At most ``batch_events`` whose votes are not in the timelines yet."""
    return _ranges(await conn.fetch(FIND_UNCOUNTED, upto.shards, upto.upto, batch_events))


async def undated(conn: Connection, upto: PositionRanges, batch_events: int) -> PositionRanges:
    """At most ``batch_events`` whose votes are not in the days of the timelines yet."""
    return _ranges(await conn.fetch(FIND_UNDATED, upto.shards, upto.upto, batch_events))


async def _batch(
    conn: Connection, upto: Sequence[Position], batch_events: int, end: LogOrder
) -> PositionRanges:
    shards, numbers = [each.shard for each in upto], [each.number for each in upto]
    shard_events = max(batch_events // max(len(upto), 1), 1)
    rows = await conn.fetch(NEXT_BATCH, shards, numbers, shard_events, end.recorded_at, end.shard, end.number)
    return _ranges(rows)


def _ranges(rows: Sequence[Record]) -> PositionRanges:
    return PositionRanges([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
