"""Moves and votes from sealed history: the SELECTs that Postgres runs, run by DuckDB over all segments at once."""

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
from projections.trials.vote_deltas import Queries, SliceQuery, SliceVotes, VoteDeltas

# Of the shards $shards, what is up to $uptos, in stretches of $seconds.
SEALED = """
every_vote AS (
    SELECT shard, position, recorded_at, tool, choice, replaced, replaced_at,
           CAST(floor(date_part('epoch', recorded_at) / CAST($seconds AS double precision)) AS integer) AS stretch
      FROM {source} AS events
      JOIN (SELECT unnest($shards) AS shard, unnest($uptos) AS upto) AS bounds USING (shard)
     WHERE position <= upto AND type IN ('VoteCast', 'VoteRetracted'))
"""
ALL = f"WITH {SEALED}, votes AS (SELECT * FROM every_vote)"
# Of the tools $tools in the stretches $numbers, which are $bits wider.
WANTED = f"""
WITH {SEALED}, votes AS (
    SELECT every_vote.*
      FROM every_vote
      JOIN (SELECT unnest($tools) AS tool, unnest($numbers) AS number) AS wanted
        ON wanted.tool = every_vote.tool AND wanted.number = every_vote.stretch >> CAST($bits AS integer))
"""


class SealedRange(Struct, frozen=True):
    """Segments, checked, that hold every shard up to a position."""

    files: tuple[Path, ...]
    upto: Mapping[Shard, int]


def sealed_up_to(store: Store, positions: Sequence[Position], heads: Mapping[int, int]) -> SealedRange:
    """What is sealed of the people's shards. Raises SegmentError for damage, and for the segments of another log."""
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


class SegmentVoteDeltas:
    def __init__(self, store: Store, sealed: SealedRange, told: Callable[[int], None], threads: int) -> None:
        self._store, self._sealed, self._told, self._threads = store, sealed, told, threads
        self.upto = sealed.upto

    async def read_moves(self, moves: VoteDeltas, ask: SliceQuery) -> None:
        await asyncio.to_thread(self._run, moves.queries(by_day=ask.by_day), ask)

    async def read_votes(self, votes: SliceVotes, ask: SliceQuery) -> None:
        await asyncio.to_thread(self._run, votes.queries, ask)

    def _run(self, queries: Queries, ask: SliceQuery) -> None:
        if not self._sealed.files:
            return
        with duck.connect(self._threads, self._store.folder) as connection:
            for query, add in queries:
                statement = f"{ALL if ask.wanted is None else WANTED} {query}"
                source = statement.replace("{source}", upcast_events("{events}", "duckdb"))
                for row in duck.query(connection, source, self._sealed.files, **self._values(ask)).fetchall():
                    add(*row)
        self._told(sum(self._sealed.upto.values()))

    def _values(self, ask: SliceQuery) -> dict[str, object]:
        bounds = {"shards": list(self._sealed.upto), "uptos": list(self._sealed.upto.values())}
        values: dict[str, object] = {**bounds, "seconds": ask.seconds}
        if ask.wanted is not None:
            tools, numbers = ask.columns
            values |= {"tools": tools, "numbers": numbers, "bits": ask.bits}
        return values
