"""Folding sealed history: the SELECT that Postgres runs over `events`, run by DuckDB over segments."""

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

# What an event replaces was recorded with the one before it on the same ballot. Where segments do not say when, this does.
DATED = """(
    SELECT * EXCLUDE before_at REPLACE (coalesce(replaced_at, before_at) AS replaced_at)
      FROM {events} LEFT JOIN (
           SELECT shard, position,
                  CASE WHEN replaced IS NOT NULL THEN lag(recorded_at) OVER ballot END AS before_at
             FROM {events}
            WHERE shard > 0 AND (shard, actor, tool) IN (SELECT (shard, actor, tool) FROM {events} WHERE replaced IS NOT NULL)
           WINDOW ballot AS (PARTITION BY shard, actor, tool, left(type, 4) ORDER BY position)) USING (shard, position))"""

# The engine's RANGE, in segments: they are of the shard already.
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
    """The read model's rows, shard and columns, over what is after ``start`` and up to ``upto``, or all that is sealed.

    Of one shard, or of every shard that has segments. The segments it needs are checked first.
    Raises SegmentError, also for what is not sealed.
    """

    def fold() -> list[Row]:
        manifests = needed(store, projection, shard, start, upto)
        if not manifests:
            return []
        with duck.opened(threads, store.folder) as connection:
            bounds = {"start": start, "upto": upto or manifests[-1].segment.last, "parked": []}
            query = folded(projection, manifests)
            return duck.run(connection, query, paths(store, manifests), **bounds).fetchall()

    return await asyncio.to_thread(fold)


def needed(
    store: Store, projection: Projection, shard: Shard | None, start: int, upto: int | None
) -> list[Manifest]:
    """Of the segments of a range, checked; of the shard that reaches furthest, the last comes last.

    Where they leave out when something was cast, it has to be found in those before them.
    """
    segments = store.segments(shard)
    for each in {segment.shard for segment in segments} if shard is None else {shard}:
        last = max((segment.last for segment in segments if segment.shard == each), default=0)
        if upto is not None and last < upto:
            raise SegmentError(f"Shard {each} is sealed up to position {last}, not up to {upto}.")
    within = [each for each in segments if each.last > start and (upto is None or each.first <= upto)]
    manifests = [store.check(segment) for segment in within]
    if start and not tells_all(projection, manifests):
        return needed(store, projection, shard, 0, upto)
    return sorted(manifests, key=lambda manifest: manifest.segment.last)


def tells_all(projection: Projection, manifests: Sequence[Manifest]) -> bool:
    """Whether these segments have every column that the projection reads."""
    return "replaced_at" not in projection.select or all(manifest.dated for manifest in manifests)


def paths(store: Store, manifests: Sequence[Manifest]) -> list[Path]:
    return [store.path(manifest.segment) for manifest in manifests]


def listed(projection: Projection) -> str:
    return ", ".join(("shard", *projection.columns))


def folded(projection: Projection, manifests: Sequence[Manifest]) -> str:
    """For ``duck.run``: what the engine merges, after $start and up to $upto, without the positions $parked."""
    source = "{events}" if tells_all(projection, manifests) else DATED
    events = SEALED_RANGE.replace("{events}", upcast_events(source, "duckdb"))
    return f"WITH {events} SELECT {listed(projection)} FROM ({projection.fold_select}) AS folded"
