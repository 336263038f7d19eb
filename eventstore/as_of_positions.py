"""Moments in the log: the prefix of every shard that a time, or an event, leaves behind it."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

from asyncpg import Pool, Record

from domain.shared.as_of import POINT_IN_TIME_FORMATS, PointInTime
from domain.shared.errors import Rejected
from domain.shared.log import Position, Shard
from eventstore.heads import read_heads

RECORDED_AT = "SELECT recorded_at FROM events WHERE shard = $1 AND position = $2"

# Up to where each shard holds nothing later than ($1, $2, $3) in the log's order. Neither position nor recorded_at
# goes back along a shard, so the range is halved until one position is left: a look-up by key each time.
PREFIXES = """
WITH RECURSIVE halved (shard, low, high) AS (
    SELECT shard, 0::bigint, position FROM heads
     UNION ALL
    SELECT h.shard, CASE WHEN e.within THEN e.position ELSE h.low END,
           CASE WHEN e.within THEN h.high ELSE e.position - 1 END
      FROM halved AS h
     CROSS JOIN LATERAL (
           SELECT e.position, (e.recorded_at, e.shard, e.position) <= ($1::timestamptz, $2::smallint, $3::bigint) AS within
             FROM events AS e
            WHERE e.shard = h.shard AND e.position = (h.low + h.high + 1) / 2
           OFFSET 0) AS e
     WHERE h.low < h.high
)
SELECT shard, low FROM halved WHERE low = high ORDER BY shard
"""

# Whoever appends takes its time under the lock on a row of heads, so what may still come with an earlier time is
# held by somebody who has that table locked now. Nobody holds it for a minute.
APPENDING = """
SELECT $1 >= clock_timestamp() AS future,
       CASE WHEN $1 > clock_timestamp() - interval '1 minute' THEN ARRAY(
            SELECT virtualtransaction FROM pg_locks
             WHERE relation = 'public.heads'::regclass AND mode IN ('RowShareLock', 'RowExclusiveLock')
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) END AS by
"""
STILL_APPENDING = "SELECT EXISTS (SELECT FROM pg_locks WHERE virtualtransaction = ANY($1))"

_LAST = (Shard(2**15 - 1), 2**63 - 1)
_POLL_SECONDS = 0.005
_PATIENCE_SECONDS = 2.0


class InTheFuture(Rejected):
    """{time} has not come yet. Send a time that has passed."""

    slug = "invalid"


class WrongPositions(Rejected):
    """The positions do not name every shard of this log once: {shards}. {how}"""

    slug = "invalid"


class NoSuchEvent(Rejected):
    """The log has no event at position {position}."""

    slug = "not-found"


class AppendInFlight(Exception):
    """An append that began before this moment has not ended yet. Ask again in a second."""


async def resolve_positions(pool: Pool[Record], moment: PointInTime) -> tuple[Position, ...]:
    """A position per shard, which no later append changes. Raises NotYet, NotAVector, NoSuchEvent or StillOpen."""
    match moment:
        case datetime():
            return await _prefixes(pool, moment, *_LAST)
        case Position(shard, number):
            return await _prefixes(pool, await _time_of(pool, moment), shard, number)
        case _:
            return await _checked(pool, moment)


async def _prefixes(pool: Pool[Record], time: datetime, shard: Shard, number: int) -> tuple[Position, ...]:
    await _settle(pool, time)
    return tuple(Position(Shard(row[0]), row[1]) for row in await pool.fetch(PREFIXES, time, shard, number))


async def _time_of(pool: Pool[Record], position: Position) -> datetime:
    recorded_at: datetime | None = await pool.fetchval(RECORDED_AT, position.shard, position.number)
    if recorded_at is None:
        raise NoSuchEvent(position=position)
    return recorded_at


async def _settle(pool: Pool[Record], moment: datetime) -> None:
    """Return once nothing can be appended any more with this time or an earlier one."""
    (row,) = await pool.fetch(APPENDING, moment)
    if row["future"]:
        raise InTheFuture(time=moment.isoformat())
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while row["by"] and await pool.fetchval(STILL_APPENDING, row["by"]):
        if time.monotonic() > deadline:
            raise AppendInFlight
        await asyncio.sleep(_POLL_SECONDS)


async def _checked(pool: Pool[Record], positions: tuple[Position, ...]) -> tuple[Position, ...]:
    heads = await read_heads(pool)
    if {position.shard for position in positions} != heads.keys():
        raise WrongPositions(shards=", ".join(map(str, heads)), how=POINT_IN_TIME_FORMATS)
    for position in positions:
        if position.number > heads[position.shard]:
            raise NoSuchEvent(position=position)
    return tuple(sorted(positions))
