"""Vote events from sealed history: DuckDB runs the SELECTs that Postgres runs, over all segments at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from domain.shared.log import EDITORIAL, Position, Shard
from eventstore.sealed import duck
from eventstore.sealed.manifest import SegmentError
from eventstore.sealed.store import Store
from projections.engine.upcasting import upcast_events
from projections.trials.vote_deltas import Queries, SliceQuery

# The vote events of the shards $shards up to the positions $uptos, in slices of $seconds.
IN_SEGMENTS = """
every_vote AS (
    SELECT shard, position, recorded_at, tool, choice, replaced, replaced_at,
           CAST(floor(date_part('epoch', recorded_at) / CAST($seconds AS double precision)) AS integer) AS slice
      FROM {source} AS events
      JOIN (SELECT unnest($shards) AS shard, unnest($uptos) AS upto) AS bounds USING (shard)
     WHERE position <= upto AND type IN ('VoteCast', 'VoteRetracted'))
"""
ALL_VOTES = f"WITH {IN_SEGMENTS}, votes AS (SELECT * FROM every_vote)"
# Only those of the tools $tools in the slices $numbers, each of which is 2**$bits times as long.
WANTED_VOTES = f"""
WITH {IN_SEGMENTS}, votes AS (
    SELECT every_vote.*
      FROM every_vote
      JOIN (SELECT unnest($tools) AS tool, unnest($numbers) AS number) AS wanted
        ON wanted.tool = every_vote.tool AND wanted.number = every_vote.slice >> CAST($bits AS integer))
"""


class SealedRange(Struct, frozen=True):
    """Checked segments that contain every shard up to a position."""

    files: tuple[Path, ...]
    upto: Mapping[Shard, int]


def sealed_up_to(store: Store, positions: Sequence[Position], heads: Mapping[int, int]) -> SealedRange:
    """The segments of the voter shards. Raises SegmentError for damage, and for the segments of another log."""
    files, upto = list[Path](), dict[Shard, int]()
    for shard, head in ((each.shard, each.number) for each in positions if each.shard != EDITORIAL):
        if store.last_position(shard) > heads[shard]:
            raise SegmentError(f"Shard {shard} is sealed further than its log goes: these are another log's.")
        for segment in store.segments(shard):
            if segment.first > head:
                break
            store.check(segment)
            files.append(store.path(segment))
            upto[shard] = min(segment.last, head)
    return SealedRange(tuple(files), upto)


class SegmentVotes:
    def __init__(
        self, store: Store, sealed: SealedRange, add_progress: Callable[[int], None], threads: int
    ) -> None:
        self._store, self._sealed, self._threads = store, sealed, threads
        self._add_progress = add_progress
        self.upto = sealed.upto

    async def read(self, queries: Queries, selection: SliceQuery) -> None:
        await asyncio.to_thread(self._run, queries, selection)

    def _run(self, queries: Queries, selection: SliceQuery) -> None:
        if not self._sealed.files:
            return
        with duck.connect(self._threads, self._store.folder) as connection:
            for query, add in queries:
                statement = f"{ALL_VOTES if selection.wanted is None else WANTED_VOTES} {query}"
                source = statement.replace("{source}", upcast_events("{events}", "duckdb"))
                for row in duck.query(
                    connection, source, self._sealed.files, **self._values(selection)
                ).fetchall():
                    add(*row)
        self._add_progress(sum(self._sealed.upto.values()))

    def _values(self, selection: SliceQuery) -> dict[str, object]:
        bounds = {"shards": list(self._sealed.upto), "uptos": list(self._sealed.upto.values())}
        values: dict[str, object] = {**bounds, "seconds": selection.seconds}
        if selection.wanted is not None:
            tools, numbers = selection.columns
            values |= {"tools": tools, "numbers": numbers, "bits": selection.bits}
        return values
