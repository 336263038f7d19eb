"""Folds of sealed history: DuckDB runs the SELECT of a read model over segments, as Postgres runs it over `events`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from domain.shared.log import Shard
from eventstore.sealed import duck
from eventstore.sealed.manifest import Manifest, SegmentError
from eventstore.sealed.store import Store
from projections.engine.projection import Projection
from projections.engine.upcasting import upcast_events

Row: TypeAlias = tuple[object, ...]

# RANGE of projections/engine/projection.py for segments, which are already limited to the shard.
SEALED_RANGE = """events AS (
    SELECT * FROM {events}
     WHERE position > $start AND position <= $upto AND NOT list_contains(CAST($parked AS BIGINT[]), position))"""


async def fold_segments(
    store: Store,
    projection: Projection,
    shard: Shard | None = None,
    start: int = 0,
    upto: int | None = None,
    *,
    threads: int = 2,
) -> list[Row]:
    """The read model's rows, as shard and columns, folded from the positions after ``start`` up to ``upto``.

    Without ``upto`` all that is sealed, without ``shard`` all shards. The digests of the segments are checked first.
    Raises SegmentError for a damaged segment, or if the positions are not sealed.
    """

    def fold() -> list[Row]:
        manifests = check_manifests(store, shard, start, upto)
        if not manifests:
            return []
        with duck.connect(threads, store.folder) as connection:
            bounds = {"start": start, "upto": upto or manifests[-1].segment.last, "parked": []}
            query = fold_statement(projection)
            return duck.query(connection, query, paths(store, manifests), **bounds).fetchall()

    return await asyncio.to_thread(fold)


def check_manifests(store: Store, shard: Shard | None, start: int, upto: int | None) -> list[Manifest]:
    """Check the segments of a range. Returns their manifests, ordered by last position."""
    segments = store.segments(shard)
    for each in {segment.shard for segment in segments} if shard is None else {shard}:
        last = max((segment.last for segment in segments if segment.shard == each), default=0)
        if upto is not None and last < upto:
            raise SegmentError(f"Shard {each} is sealed up to position {last}, not up to {upto}.")
    within = [each for each in segments if each.last > start and (upto is None or each.first <= upto)]
    manifests = [store.check(segment) for segment in within]
    return sorted(manifests, key=lambda manifest: manifest.segment.last)


def paths(store: Store, manifests: Sequence[Manifest]) -> list[Path]:
    return [store.path(manifest.segment) for manifest in manifests]


def column_list(projection: Projection) -> str:
    return ", ".join(("shard", *projection.columns))


def fold_statement(projection: Projection) -> str:
    """A statement for ``duck.query`` over the positions after $start up to $upto, without the positions $parked."""
    events = SEALED_RANGE.replace("{events}", upcast_events("{events}", "duckdb"))
    return f"WITH {events} SELECT {column_list(projection)} FROM ({projection.fold_select}) AS folded"
