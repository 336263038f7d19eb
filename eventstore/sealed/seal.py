"""Sealing: a range is copied from Postgres, written as Parquet, read back, compared with Postgres, and published."""

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
from eventstore.sealed.rows import EXPORT_ROWS, SUM_IN_DUCKDB, SUM_IN_POSTGRES, make_content
from eventstore.sealed.store import Store

# Session-level locks, so that no transaction stays open while DuckDB works.
TRY_LOCK = "SELECT pg_try_advisory_lock(hashtext('shiplog seal'), $1)"
UNLOCK_SEALING = "SELECT pg_advisory_unlock(hashtext('shiplog seal'), $1)"


class SealPlan(Struct, frozen=True):
    """Seal segments of ``size`` positions once the head is ``behind`` positions past their end.

    ``short``: seal up to the head, in a last segment that is not full.
    """

    size: int = 1_048_576
    behind: int = 65_536
    short: bool = False


async def find_due_segments(pool: Pool[Record], store: Store, plan: SealPlan) -> list[Segment]:
    """The segments to seal now, ordered so that all shards advance together. Raises SegmentError if the log is shorter."""
    known = [Shard(shard) for shard in await read_heads(pool)]
    sealed = {
        shard: store.last_position(shard) for shard in known
    }  # before the heads: another worker may seal meanwhile
    shards = {Shard(shard): head for shard, head in (await read_heads(pool)).items()}
    for shard, last in sealed.items():
        if last > shards[shard]:
            raise SegmentError(
                f"Shard {shard} is sealed up to {last}, and its log ends at {shards[shard]}: the log was restored to an "
                f"older point. Move {store.folder} away; workers seal it again."
            )
    segments = [each for shard, head in shards.items() for each in _split(shard, sealed[shard], head, plan)]
    return sorted(segments, key=lambda segment: (segment.first, segment.shard))


def _split(shard: Shard, last: int, head: int, plan: SealPlan) -> list[Segment]:
    """Segments end at multiples of the size, even if the last one ended between two."""
    end = head if plan.short else head - plan.behind
    segments: list[Segment] = []
    while (upto := (last // plan.size + 1) * plan.size) <= end or (plan.short and last < end):
        segments.append(Segment(shard, last + 1, min(upto, end)))
        last = segments[-1].last
    return segments


async def seal(pool: Pool[Record], store: Store, segment: Segment, threads: int = 2) -> Manifest | None:
    """Seal a segment. None if another process seals this shard, or has sealed the segment already.

    Raises SegmentError if the file differs from Postgres; then nothing is published.
    """
    async with pool.acquire() as conn, _locked(conn, segment.shard) as locked:
        if not locked:
            return None
        store.remove_unfinished(segment.shard)
        if max((each.last for each in store.segments(segment.shard)), default=0) != segment.first - 1:
            return None
        with store.staging_folder(segment) as folder:
            csv, parquet = folder / "rows.csv", folder / "rows.parquet"
            # COPY takes no parameters, so asyncpg quotes them into the statement.
            await conn.copy_from_query(EXPORT_ROWS, *_range(segment), output=csv, format="csv")
            written = await asyncio.to_thread(_write_and_read, store.folder, csv, parquet, threads)
            expected = await postgres_content(conn, segment)
            _compare(segment, expected, written)
            sha256 = await asyncio.to_thread(store.sha256, parquet)
            manifest = Manifest(FORMAT, segment.shard, written, COLUMNS, sha256)
            # Not in a thread: it would continue after the task is cancelled and the lock released.
            store.publish(parquet, manifest)
            return manifest


async def postgres_content(conn: PoolConnectionProxy[Record] | Pool[Record], segment: Segment) -> Content:
    """The content of a segment's range in Postgres."""
    (row,) = await conn.fetch(SUM_IN_POSTGRES, *_range(segment))
    return make_content(*row)


@asynccontextmanager
async def _locked(conn: PoolConnectionProxy[Record], shard: Shard) -> AsyncIterator[bool]:
    locked = bool(await conn.fetchval(TRY_LOCK, shard))
    try:
        yield locked
    finally:
        if locked and not conn.is_closed():
            await conn.execute(UNLOCK_SEALING, shard)


def _range(segment: Segment) -> tuple[int, int, int]:
    return segment.shard, segment.first, segment.last


def _write_and_read(folder: Path, csv: Path, parquet: Path, threads: int) -> Content:
    """Write the file, and return the content that is read back from it."""
    with duck.connect(threads, folder) as connection:
        duck.write_segment(connection, csv, parquet)
    return file_content(folder, parquet, threads)


def file_content(folder: Path, file: Path, threads: int) -> Content:
    """The content of a segment's file, read by DuckDB."""
    with duck.connect(threads, folder) as connection:
        (row,) = duck.query(connection, SUM_IN_DUCKDB, [file]).fetchall()
    return make_content(*row)


def _compare(segment: Segment, expected: Content, written: Content) -> None:
    if expected.count != segment.count or (expected.first, expected.last) != (segment.first, segment.last):
        raise SegmentError(f"{segment}: Postgres has {expected.count} of its {segment.count} rows.")
    if written != expected:
        raise SegmentError(f"{segment}: the file would hold {written}, Postgres holds {expected}.")
