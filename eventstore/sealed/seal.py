"""Sealing: a range leaves Postgres by COPY, becomes Parquet, is read back, compared with Postgres, and published."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.shared.log import Shard
from eventstore.heads import read_heads
from eventstore.sealed import duck
from eventstore.sealed.manifest import COLUMNS, FORMAT, Content, Manifest, Segment, SegmentError
from eventstore.sealed.rows import EXPORT, SUM_IN_DUCKDB, SUM_IN_POSTGRES, content
from eventstore.sealed.store import Store

# Held by the session, not by a transaction: none stays open while DuckDB works.
LOCK = "SELECT pg_try_advisory_lock(hashtext('shiplog seal'), $1)"
UNLOCK = "SELECT pg_advisory_unlock(hashtext('shiplog seal'), $1)"


class Plan(Struct, frozen=True):
    """Segments of ``size`` positions, once the head is ``behind`` positions further; ``short``: a last one that is not full."""

    size: int = 1_048_576
    behind: int = 65_536
    short: bool = False


async def due(pool: Pool[Record], store: Store, plan: Plan) -> list[Segment]:
    """What there is to seal now, all shards in step."""
    heads = await read_heads(pool)
    shards = {Shard(shard): head for shard, head in heads.items()}
    cut = [each for shard, head in shards.items() for each in _cut(shard, store.last(shard), head, plan)]
    return sorted(cut, key=lambda segment: (segment.first, segment.shard))


def _cut(shard: Shard, last: int, head: int, plan: Plan) -> list[Segment]:
    """Segments end at multiples of the size, whatever was sealed before."""
    end = head if plan.short else head - plan.behind
    cut: list[Segment] = []
    while (upto := (last // plan.size + 1) * plan.size) <= end or (plan.short and last < end):
        cut.append(Segment(shard, last + 1, min(upto, end)))
        last = cut[-1].last
    return cut


async def seal(pool: Pool[Record], store: Store, segment: Segment, threads: int = 2) -> Manifest | None:
    """Seal a segment. None when somebody else is at this shard, or has sealed it already.

    Raises SegmentError when what was written is not what Postgres has; nothing is published then.
    """
    async with pool.acquire() as conn, _locked(conn, segment.shard) as mine:
        if not mine:
            return None
        store.tidy(segment.shard)
        if max((each.last for each in store.segments(segment.shard)), default=0) != segment.first - 1:
            return None
        with store.making(segment) as folder:
            csv, made = folder / "rows.csv", folder / "rows.parquet"
            # COPY takes no parameters of its own: asyncpg quotes them into the text.
            await conn.copy_from_query(EXPORT, *_range(segment), output=csv, format="csv")
            read = await asyncio.to_thread(_make, store.folder, csv, made, threads)
            asked = await held(conn, segment)
            _compare(segment, asked, read)
            sha256 = await asyncio.to_thread(store.sha256, made)
            manifest = Manifest(FORMAT, segment.shard, read, COLUMNS, sha256)
            store.put(made, manifest)  # not in a thread, which would outlive a cancelled task and its lock
            return manifest


async def held(conn: PoolConnectionProxy[Record] | Pool[Record], segment: Segment) -> Content:
    """What Postgres has of a segment's range."""
    (row,) = await conn.fetch(SUM_IN_POSTGRES, *_range(segment))
    return content(*row)


@asynccontextmanager
async def _locked(conn: PoolConnectionProxy[Record], shard: Shard) -> AsyncIterator[bool]:
    locked = bool(await conn.fetchval(LOCK, shard))
    try:
        yield locked
    finally:
        if locked and not conn.is_closed():
            await conn.execute(UNLOCK, shard)


def _range(segment: Segment) -> tuple[int, int, int]:
    return segment.shard, segment.first, segment.last


def _make(folder: Path, csv: Path, made: Path, threads: int) -> Content:
    """Write the file, and say what can be read of it."""
    with duck.opened(threads, folder) as connection:
        duck.write_segment(connection, csv, made)
    return read_content(folder, made, threads)


def read_content(folder: Path, file: Path, threads: int) -> Content:
    """What DuckDB finds in a segment's file."""
    with duck.opened(threads, folder) as connection:
        (row,) = duck.run(connection, SUM_IN_DUCKDB, [file]).fetchall()
    return content(*row)


def _compare(segment: Segment, asked: Content, read: Content) -> None:
    if asked.count != segment.count or (asked.first, asked.last) != (segment.first, segment.last):
        raise SegmentError(f"{segment}: Postgres has {asked.count} of its {segment.count} rows.")
    if read != asked:
        raise SegmentError(f"{segment}: the file would hold {read}, Postgres holds {asked}.")
