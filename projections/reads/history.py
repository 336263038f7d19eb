"""History: the votes of one tool by hour or day. Whole hours come from the hourly tally, the ends from the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal, TypeAlias

from msgspec import Struct

from eventstore.as_of_positions import SEARCH_RANGES
from projections.engine.snapshot import Snapshot
from projections.hourly_tally import HOURLY_TALLY
from projections.reads.diff import EVENTS_BETWEEN

BucketSize: TypeAlias = Literal["hour", "day"]

# The hours before $4. Those before $3 are part of the running sums of the first bucket.
READ_HOURS = """
SELECT date_trunc($2, greatest(hour, $3)) AS bucket,
       coalesce(sum(casts) FILTER (WHERE hour >= $3), 0)::bigint AS casts,
       sum(sum(ship)) OVER running::bigint AS ship, sum(sum(skip)) OVER running::bigint AS skip
  FROM hourly_tally
 WHERE tool = $1 AND hour < $4
 GROUP BY bucket
WINDOW running AS (ORDER BY date_trunc($2, greatest(hour, $3)))
 ORDER BY bucket
"""
# The last position of each shard before the time $1, among those that the hourly tally $2 has reached.
FIND_LAST_BEFORE = f"""
WITH RECURSIVE ranges AS (
    SELECT shard, 0::bigint AS low, position AS high FROM checkpoints WHERE projection = $2
), bound (recorded_at, shard, position) AS (
    VALUES ($1::timestamptz, -1::smallint, 0::bigint)
), {SEARCH_RANGES}
SELECT shard, low FROM searched WHERE low = high ORDER BY shard
"""
SUM_BETWEEN = f"""{EVENTS_BETWEEN}
SELECT coalesce(sum(casts), 0)::bigint, coalesce(sum(ship), 0)::bigint, coalesce(sum(skip), 0)::bigint
  FROM votes WHERE tool = $4
"""
# For the rest of the transaction: never scan the log. A cached plan may have been made when it was small.
USE_INDEXES = """
SELECT set_config(name, 'off', true)
  FROM unnest(ARRAY['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin']) AS names (name)
"""

_HOUR = timedelta(hours=1)
_LAST_HOUR = datetime(9999, 12, 31, 23, tzinfo=UTC)


class VotesAdded(Struct, frozen=True):
    """What a range of the log added to a tool's tally, and the number of casts and retractions in it."""

    casts: int
    ship: int
    skip: int


class HistoryBucket(Struct, frozen=True):
    """``casts`` in the bucket, and the tally at its end; the first and the last bucket only within the range asked for."""

    start: datetime
    casts: int
    ship: int
    skip: int


async def read_history(
    snapshot: Snapshot, tool: int, size: BucketSize, start: datetime, end: datetime | None
) -> list[HistoryBucket]:
    """The buckets (UTC) with votes from ``start`` up to but not including ``end``, oldest first.

    The bucket of ``start`` is also listed without votes of its own, if the tool has earlier ones. None as ``end`` includes
    all votes. Times may fall inside an hour: then that hour's part is read from the log, by position.
    """
    ended = end or _LAST_HOUR
    last_hour = _floor(ended)
    rows = await snapshot.fetch(HOURLY_TALLY, READ_HOURS, tool, size, start, last_hour)
    buckets = [HistoryBucket(*row) for row in rows]
    inside_first = (start, min(_ceiling(start), ended)) if start != _floor(start) else None
    inside_last = (last_hour, ended) if ended != last_hour else None
    first, last = await _read_ends(snapshot, tool, inside_first, inside_last)
    if last.casts:
        _add_last(buckets, size, max(start, last_hour), last, within=last_hour >= start)
    if first.casts:
        buckets[0] = HistoryBucket(
            buckets[0].start, buckets[0].casts + first.casts, buckets[0].ship, buckets[0].skip
        )
    return buckets


def _add_last(
    buckets: list[HistoryBucket], size: BucketSize, time: datetime, added: VotesAdded, *, within: bool
) -> None:
    """Adds the last hour's part to its bucket. Its casts count unless ``start`` is in the same hour: then the first part has them."""
    bucket = time.replace(minute=0, second=0, microsecond=0, hour=time.hour if size == "hour" else 0)
    casts, ship, skip = (buckets[-1].casts, buckets[-1].ship, buckets[-1].skip) if buckets else (0, 0, 0)
    if buckets and buckets[-1].start == bucket:
        buckets.pop()
    else:
        casts = 0
    casts += added.casts if within else 0
    buckets.append(HistoryBucket(bucket, casts, ship + added.ship, skip + added.skip))


async def _read_ends(
    snapshot: Snapshot, tool: int, *ranges: tuple[datetime, datetime] | None
) -> list[VotesAdded]:
    if any(ranges):
        await snapshot.fetch_unscoped(USE_INDEXES)
    return [await _sum_between(snapshot, tool, each) if each else VotesAdded(0, 0, 0) for each in ranges]


async def _sum_between(snapshot: Snapshot, tool: int, times: Sequence[datetime]) -> VotesAdded:
    """From the first time up to but not including the second."""
    found = [await snapshot.fetch_unscoped(FIND_LAST_BEFORE, time, HOURLY_TALLY.name) for time in times]
    [(before, upto)] = pairwise(found)
    (row,) = await snapshot.fetch_unscoped(
        SUM_BETWEEN,
        [shard for shard, _ in before],
        [position for _, position in before],
        [position for _, position in upto],
        tool,
    )
    return VotesAdded(*row)


def _floor(time: datetime) -> datetime:
    return time.replace(minute=0, second=0, microsecond=0)


def _ceiling(time: datetime) -> datetime:
    return min(_floor(time), _LAST_HOUR - _HOUR) + _HOUR
