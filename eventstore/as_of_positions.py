"""As-of positions: a time or an event as one position per shard, up to which the log is read."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from asyncpg import Pool, Record

from domain.shared.as_of import POINT_IN_TIME_FORMATS, PointInTime
from domain.shared.errors import Rejected
from domain.shared.log import Position, Shard
from eventstore.heads import read_heads
from eventstore.polling import poll_until

READ_RECORDED_AT = "SELECT recorded_at FROM events WHERE shard = $1 AND position = $2"

# Binary search, in each row (shard, low, high) of `ranges`, for the last position that is not after the row
# (recorded_at, shard, position) of `bound` in the log's order. Along a shard neither position nor recorded_at ever
# decreases, so a range is halved until one position is left; each step is a look-up by key.
SEARCH_RANGES = """
searched (shard, low, high) AS (
    SELECT shard, low, high FROM ranges
     UNION ALL
    SELECT s.shard, CASE WHEN e.within THEN e.position ELSE s.low END,
           CASE WHEN e.within THEN s.high ELSE e.position - 1 END
      FROM searched AS s
     CROSS JOIN LATERAL (
           SELECT e.position, (e.recorded_at, e.shard, e.position) <= (b.recorded_at, b.shard, b.position) AS within
             FROM bound AS b, events AS e
            WHERE e.shard = s.shard AND e.position = (s.low + s.high + 1) / 2
           OFFSET 0) AS e
     WHERE s.low < s.high
)"""
FIND_POSITIONS = f"""
WITH RECURSIVE ranges AS (
    SELECT shard, 0::bigint AS low, position AS high FROM heads
), bound (recorded_at, shard, position) AS (
    VALUES ($1::timestamptz, $2::smallint, $3::bigint)
), {SEARCH_RANGES}
SELECT shard, low FROM searched WHERE low = high ORDER BY shard
"""

# An append reads the clock while it holds the lock on its row of heads. So only a transaction that holds a lock on that
# table now can still add an event with an earlier time; no append holds it for a minute.
READ_APPENDS_IN_FLIGHT = """
SELECT $1 >= clock_timestamp() AS future,
       CASE WHEN $1 > clock_timestamp() - interval '1 minute' THEN ARRAY(
            SELECT virtualtransaction FROM pg_locks
             WHERE relation = 'public.heads'::regclass AND mode IN ('RowShareLock', 'RowExclusiveLock')
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) END AS transactions
"""
APPENDS_ENDED = "SELECT NOT EXISTS (SELECT FROM pg_locks WHERE virtualtransaction = ANY($1))"

APPEND_WAIT_SECONDS_MAX = 2.0
# Sorts after the shard and position of every event with the same time.
_TIE_BREAK_MAX = (Shard(2**15 - 1), 2**63 - 1)


class InTheFuture(Rejected):
    """{time} is in the future. Send a time that has passed."""

    slug = "invalid"


class WrongPositions(Rejected):
    """The positions must name every shard of this log once: {shards}. {how}"""

    slug = "invalid"


class NoSuchEvent(Rejected):
    """The log has no event at position {position}."""

    slug = "not-found"


class AppendInFlight(Exception):
    """An append that began before this time has not ended yet. Ask again in a second."""


async def resolve_positions(pool: Pool[Record], moment: PointInTime) -> tuple[Position, ...]:
    """A position per shard. Later appends do not change the result.

    Raises InTheFuture, WrongPositions, NoSuchEvent or AppendInFlight.
    """
    match moment:
        case datetime():
            return await _find_positions(pool, moment, *_TIE_BREAK_MAX)
        case Position(shard, number):
            return await _find_positions(pool, await _time_of(pool, moment), shard, number)
        case _:
            return await _check(pool, moment)


async def _find_positions(
    pool: Pool[Record], time: datetime, shard: Shard, number: int
) -> tuple[Position, ...]:
    await _wait_for_appends(pool, time)
    return tuple(
        Position(Shard(row[0]), row[1]) for row in await pool.fetch(FIND_POSITIONS, time, shard, number)
    )


async def _time_of(pool: Pool[Record], position: Position) -> datetime:
    recorded_at: datetime | None = await pool.fetchval(READ_RECORDED_AT, position.shard, position.number)
    if recorded_at is None:
        raise NoSuchEvent(position=position)
    return recorded_at


async def _wait_for_appends(pool: Pool[Record], moment: datetime) -> None:
    """Return once no append can add an event with this time or an earlier one."""
    (row,) = await pool.fetch(READ_APPENDS_IN_FLIGHT, moment)
    if row["future"]:
        raise InTheFuture(time=moment.isoformat())
    if in_flight := row["transactions"]:
        ended = partial(pool.fetchval, APPENDS_ENDED, in_flight)
        if not await poll_until(ended, APPEND_WAIT_SECONDS_MAX, interval=0.005):
            raise AppendInFlight


async def _check(pool: Pool[Record], positions: tuple[Position, ...]) -> tuple[Position, ...]:
    heads = await read_heads(pool)
    if {position.shard for position in positions} != heads.keys():
        raise WrongPositions(shards=", ".join(map(str, heads)), how=POINT_IN_TIME_FORMATS)
    for position in positions:
        if position.number > heads[position.shard]:
            raise NoSuchEvent(position=position)
    return tuple(sorted(positions))
