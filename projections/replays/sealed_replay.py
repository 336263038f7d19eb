"""Replay from sealed history: DuckDB folds the segments, and the rows are loaded into the rebuilt version."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy

from domain.shared.errors import Rejected
from domain.shared.log import Shard
from eventstore.heads import read_heads
from eventstore.sealed.duck import FoldFailed
from eventstore.sealed.manifest import SegmentError
from eventstore.sealed.store import Store
from projections.engine.blocked import blocked_position
from projections.engine.poison import POISON_ERRORS
from projections.engine.projection import Projection
from projections.replays.sealed_fold import Row, fold_segments

# If the shard has ranges, its sealed part has been folded already.
HAS_RANGES = "SELECT EXISTS (SELECT FROM replay_ranges WHERE shard = $1 AND replay = $2)"
CREATE_FOLDED_RANGE = """
INSERT INTO replay_ranges (shard, replay, after, upto, folded_at) VALUES ($1, $2, 0, $3, clock_timestamp())
"""


class NoSegments(Rejected):
    """This replay reads sealed history, but no folder of segments is set. Set SHIPLOG_SEGMENTS, or replay from Postgres."""

    slug = "no-segments"


async def fold_sealed(
    pool: Pool[Record], store: Store | None, live: Projection, id: UUID, shards: Sequence[Shard], threads: int
) -> None:
    """Fold the sealed positions of each shard as its first range, up to an event that blocks the read model.

    A shard in which the fold fails on an event is left to Postgres, which can park the event. Raises SegmentError, and
    then loads nothing of that shard.
    """
    if store is None:
        raise NoSegments
    heads = await read_heads(pool)
    for shard in shards:
        last = store.last_position(shard)
        if last > heads[shard]:
            raise SegmentError(
                f"Shard {shard} is sealed up to {last}, but its log ends at {heads[shard]}: the segments are of another log."
            )
        upto = await _readable(pool, live, shard, last)
        if upto and not await pool.fetchval(HAS_RANGES, shard, id):
            with suppress(FoldFailed, *POISON_ERRORS):
                rows = await fold_segments(store, live, shard, upto=upto, threads=threads)
                async with pool.acquire() as conn, conn.transaction():
                    await _load(conn, live, rows)
                    await conn.execute(CREATE_FOLDED_RANGE, shard, id, upto)


async def _readable(pool: Pool[Record], live: Projection, shard: Shard, last: int) -> int:
    async with pool.acquire() as conn:
        blocked_at = await blocked_position(conn, live, shard, last)
    return last if blocked_at is None else min(last, blocked_at - 1)


async def _load(conn: PoolConnectionProxy[Record], live: Projection, rows: Sequence[Row]) -> None:
    columns = {"shard": "smallint", **live.columns}
    json = {number for number, ddl in enumerate(columns.values()) if ddl.startswith("jsonb")}
    await conn.copy_records_to_table(
        live.shadow.name,
        schema_name="read_models",
        columns=list(columns),
        records=[_with_binary_json(row, json) for row in rows] if json else rows,
    )


def _with_binary_json(row: Row, json: set[int]) -> Row:
    """The row with JSON as bytes, which the pool's codec for jsonb expects."""
    return tuple(
        str(value).encode() if number in json and value is not None else value
        for number, value in enumerate(row)
    )
