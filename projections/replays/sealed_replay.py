"""Replay from sealed history: what is in segments is folded by DuckDB, and loaded into the version beside."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy

from domain.shared.errors import Rejected
from domain.shared.log import Shard
from eventstore.heads import read_heads
from eventstore.sealed.duck import NotFolded
from eventstore.sealed.manifest import SegmentError
from eventstore.sealed.store import Store
from projections.engine.blocked import blocked_position
from projections.engine.poison import POISON_ERRORS
from projections.engine.projection import Projection
from projections.replays.sealed_fold import Row, fold_segments

# Ranges that were folded before, from wherever, are not folded again.
COVERED = "SELECT EXISTS (SELECT FROM replay_ranges WHERE shard = $1 AND replay = $2)"
LOADED = """
INSERT INTO replay_ranges (shard, replay, after, upto, folded_at) VALUES ($1, $2, 0, $3, clock_timestamp())
"""


class NoSegments(Rejected):
    """This replay reads sealed history, and none is kept here. Set SHIPLOG_SEGMENTS, or replay from Postgres."""

    slug = "no-segments"


async def fold_sealed(
    pool: Pool[Record], store: Store | None, live: Projection, id: UUID, shards: Sequence[Shard], threads: int
) -> None:
    """Fold all that is sealed, as the first range of each shard. Raises SegmentError, and then loads nothing of a shard.

    Not past what stops the read model. A shard in which something is poison is left to Postgres, which can park it.
    """
    if store is None:
        raise NoSegments
    heads = await read_heads(pool)
    for shard in shards:
        last = store.last(shard)
        if last > heads[shard]:
            raise SegmentError(
                f"Shard {shard} is sealed up to {last}, and its log ends at {heads[shard]}: another log's."
            )
        upto = await _readable(pool, live, shard, last)
        if upto and not await pool.fetchval(COVERED, shard, id):
            with suppress(NotFolded, *POISON_ERRORS):
                rows = await fold_segments(store, live, shard, upto=upto, threads=threads)
                async with pool.acquire() as conn, conn.transaction():
                    await _load(conn, live, rows)
                    await conn.execute(LOADED, shard, id, upto)


async def _readable(pool: Pool[Record], live: Projection, shard: Shard, last: int) -> int:
    async with pool.acquire() as conn:
        stop = await blocked_position(conn, live, shard, last)
    return last if stop is None else min(last, stop - 1)


async def _load(conn: PoolConnectionProxy[Record], live: Projection, rows: Sequence[Row]) -> None:
    columns = {"shard": "smallint", **live.columns}
    json = {number for number, ddl in enumerate(columns.values()) if ddl.startswith("jsonb")}
    await conn.copy_records_to_table(
        live.shadow.name,
        schema_name="read_models",
        columns=list(columns),
        records=[_binary(row, json) for row in rows] if json else rows,
    )


def _binary(row: Row, json: set[int]) -> Row:
    """As the pool's codec for jsonb takes it."""
    return tuple(
        str(value).encode() if number in json and value is not None else value
        for number, value in enumerate(row)
    )
