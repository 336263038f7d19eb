"""Verify sealed history: hold the segments, and what each read model folds from them, to the log in Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from asyncpg import Pool, Record

from domain.shared.log import Position
from eventstore.sealed import duck
from eventstore.sealed.manifest import Manifest
from eventstore.sealed.seal import held
from eventstore.sealed.store import Store
from projections.engine.parked import parked_positions
from projections.engine.projection import RANGE, Projection
from projections.engine.upcasting import excluding_parked, with_upcasts
from projections.replays.digests import ROWS_SHOWN_MAX
from projections.replays.sealed_fold import folded, listed, needed, paths
from projections.replays.verify import Verified

COUNT_SEALED = "CREATE TEMP TABLE sealed AS "
SAME_COLUMNS = "CREATE TEMP TABLE counted AS SELECT * FROM sealed LIMIT 0"


async def verify_segments(
    pool: Pool[Record], store: Store, projections: Sequence[Projection], *, threads: int = 2
) -> list[Verified]:
    """Check the segments, compare their rows with those of Postgres, then what each read model folds of the two.

    Nothing is folded while a segment is damaged.
    """
    manifests, damaged = await asyncio.to_thread(store.review)
    if damaged:
        return [_verified("segments", [], damaged)]
    last = {manifest.shard: manifest.segment.last for manifest in manifests}
    sealed = [Position(shard, number) for shard, number in last.items()]
    return [
        _verified("segments", sealed, await _changed(pool, store, manifests)),
        *[await _verify(pool, store, projection, sealed, threads) for projection in projections],
    ]


async def _changed(pool: Pool[Record], store: Store, manifests: Sequence[Manifest]) -> list[str]:
    """The segments of which Postgres has other rows."""
    return [
        f"{store.path(each.segment)} holds {each.content}, Postgres holds {found}"
        for each in manifests
        if (found := await held(pool, each.segment, dated=each.dated)) != each.content
    ]


async def _verify(
    pool: Pool[Record], store: Store, projection: Projection, sealed: Sequence[Position], threads: int
) -> Verified:
    rows = [row for at in sealed for row in await _differences(pool, store, projection, at, threads)]
    return _verified(projection.name, sealed, rows)


def _verified(name: str, sealed: Sequence[Position], rows: Sequence[str]) -> Verified:
    return Verified(name, ",".join(map(str, sealed)), None, len(rows), list(rows[:ROWS_SHOWN_MAX]))


async def _differences(
    pool: Pool[Record], store: Store, projection: Projection, at: Position, threads: int
) -> list[str]:
    """The rows of one shard that the two engines do not share, and which side says so."""
    with TemporaryDirectory(prefix="shiplog-verify-") as folder:
        csv = Path(folder) / "rows.csv"
        async with pool.acquire() as conn:
            parked = await parked_positions(conn, at.shard, projection.name)
            await conn.copy_from_query(_counted(projection), at.shard, 0, at.number, output=csv, format="csv")
        return await asyncio.to_thread(_compare, store, projection, at, parked, csv, threads)


def _counted(projection: Projection) -> str:
    """What the read model has parked neither engine could fold."""
    events = excluding_parked(RANGE, projection.name)
    return with_upcasts(
        f"WITH {events} SELECT {listed(projection)} FROM ({projection.fold_select}) AS folded"
    )


def _compare(
    store: Store, projection: Projection, at: Position, parked: list[int], csv: Path, threads: int
) -> list[str]:
    manifests = needed(store, projection, at.shard, 0, at.number)
    with duck.opened(threads, store.folder, csv.parent) as connection:
        bounds = {"start": 0, "upto": at.number, "parked": parked}
        query = COUNT_SEALED + folded(projection, manifests)
        duck.run(connection, query, paths(store, manifests), **bounds)
        connection.execute(SAME_COLUMNS)
        duck.read_csv(connection, "counted", csv)
        found = connection.execute(_difference(projection))
        names = [each[0] for each in found.description or ()]
        rows = found.fetchall()
    return [", ".join(f"{name} {value}" for name, value in zip(names, row, strict=True)) for row in rows]


def _difference(projection: Projection) -> str:
    """JSON is compared by what it says, not by its spaces."""
    columns = {"shard": "smallint", **projection.columns}
    compared = ", ".join(
        f"json({name}) AS {name}" if ddl.startswith("jsonb") else name for name, ddl in columns.items()
    )
    sealed, counted = f"SELECT {compared} FROM sealed", f"SELECT {compared} FROM counted"
    return f"""
        SELECT 'segments' AS says, * FROM ({sealed} EXCEPT {counted}) AS extra
        UNION ALL
        SELECT 'log', * FROM ({counted} EXCEPT {sealed}) AS missing"""
