"""Verify sealed history: compare the segments, and each read model folded from them, with the log in Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from asyncpg import Pool, Record

from domain.shared.log import Position
from eventstore.sealed import duck
from eventstore.sealed.manifest import Manifest
from eventstore.sealed.seal import postgres_content
from eventstore.sealed.store import Store
from projections.engine.parked import parked_positions
from projections.engine.projection import RANGE, Projection
from projections.engine.upcasting import excluding_parked, with_upcasts
from projections.replays.digests import ROWS_SHOWN_MAX
from projections.replays.sealed_fold import check_manifests, column_list, fold_statement, paths
from projections.replays.verify import ModelRecount

CREATE_SEALED = "CREATE TEMP TABLE sealed AS "
CREATE_COUNTED = "CREATE TEMP TABLE counted AS SELECT * FROM sealed LIMIT 0"


async def verify_segments(
    pool: Pool[Record], store: Store, projections: Sequence[Projection], *, threads: int = 2
) -> list[ModelRecount]:
    """Check the segments, compare their rows with Postgres, then each read model as both engines fold it.

    Nothing is compared if a segment is damaged.
    """
    manifests, damaged = await asyncio.to_thread(store.check_all)
    if damaged:
        return [_result("segments", [], damaged)]
    last = {manifest.shard: manifest.segment.last for manifest in manifests}
    sealed = [Position(shard, number) for shard, number in last.items()]
    return [
        _result("segments", sealed, await _differing_segments(pool, store, manifests)),
        *[await _verify(pool, store, projection, sealed, threads) for projection in projections],
    ]


async def _differing_segments(pool: Pool[Record], store: Store, manifests: Sequence[Manifest]) -> list[str]:
    """The segments whose rows differ from those in Postgres."""
    return [
        f"{store.path(each.segment)} holds {each.content}, Postgres holds {found}"
        for each in manifests
        if (found := await postgres_content(pool, each.segment)) != each.content
    ]


async def _verify(
    pool: Pool[Record], store: Store, projection: Projection, sealed: Sequence[Position], threads: int
) -> ModelRecount:
    rows = [row for at in sealed for row in await _differences(pool, store, projection, at, threads)]
    return _result(projection.name, sealed, rows)


def _result(name: str, sealed: Sequence[Position], rows: Sequence[str]) -> ModelRecount:
    return ModelRecount(name, ",".join(map(str, sealed)), None, len(rows), list(rows[:ROWS_SHOWN_MAX]))


async def _differences(
    pool: Pool[Record], store: Store, projection: Projection, at: Position, threads: int
) -> list[str]:
    """The rows of one shard that only one engine returns, each with the side that has it."""
    with TemporaryDirectory(prefix="shiplog-verify-") as folder:
        csv = Path(folder) / "rows.csv"
        async with pool.acquire() as conn:
            parked = await parked_positions(conn, at.shard, projection.name)
            await conn.copy_from_query(
                _recount_statement(projection), at.shard, 0, at.number, output=csv, format="csv"
            )
        return await asyncio.to_thread(_compare, store, projection, at, parked, csv, threads)


def _recount_statement(projection: Projection) -> str:
    """Without the events that the read model has parked, on which both engines would fail."""
    events = excluding_parked(RANGE, projection.name)
    return with_upcasts(
        f"WITH {events} SELECT {column_list(projection)} FROM ({projection.fold_select}) AS folded"
    )


def _compare(
    store: Store, projection: Projection, at: Position, parked: list[int], csv: Path, threads: int
) -> list[str]:
    manifests = check_manifests(store, at.shard, 0, at.number)
    with duck.connect(threads, store.folder, csv.parent) as connection:
        bounds = {"start": 0, "upto": at.number, "parked": parked}
        query = CREATE_SEALED + fold_statement(projection)
        duck.query(connection, query, paths(store, manifests), **bounds)
        connection.execute(CREATE_COUNTED)
        duck.read_csv(connection, "counted", csv)
        result = connection.execute(_difference(projection))
        names = [column[0] for column in result.description or ()]
        rows = result.fetchall()
    return [", ".join(f"{name} {value}" for name, value in zip(names, row, strict=True)) for row in rows]


def _difference(projection: Projection) -> str:
    """JSON is compared without regard to its spaces."""
    columns = {"shard": "smallint", **projection.columns}
    compared = ", ".join(
        f"json({name}) AS {name}" if ddl.startswith("jsonb") else name for name, ddl in columns.items()
    )
    sealed, counted = f"SELECT {compared} FROM sealed", f"SELECT {compared} FROM counted"
    return f"""
        SELECT 'segments' AS says, * FROM ({sealed} EXCEPT {counted}) AS extra
        UNION ALL
        SELECT 'log', * FROM ({counted} EXCEPT {sealed}) AS missing"""
