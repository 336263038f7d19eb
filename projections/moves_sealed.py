"""Moves and votes from sealed history: the SELECTs that Postgres runs, run by DuckDB over all segments at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from domain.log import HOUSE, Position, Shard
from eventstore.sealed import duck
from eventstore.sealed.manifest import SegmentError
from eventstore.sealed.store import Store
from projections.moves import MOVES, MOVES_BY_DAY, VOTES, Key, Moves, Votes
from projections.reading import upcast_events

# Of the shards $shards, what is up to $uptos, in stretches of $seconds.
SEALED = """
votes AS (
    SELECT shard, position, recorded_at, tool, choice, replaced, replaced_at,
           CAST(floor(date_part('epoch', recorded_at) / CAST($seconds AS double precision)) AS integer) AS stretch
      FROM {source} AS events
      JOIN (SELECT unnest($shards) AS shard, unnest($uptos) AS upto) AS bounds USING (shard)
     WHERE position <= upto AND type IN ('VoteCast', 'VoteRetracted'))
"""
DOUBTFUL = "doubtful AS (SELECT unnest($tools) AS tool, unnest($stretches) AS stretch)"


class Sealed(Struct, frozen=True):
    """Segments, checked, that hold every shard up to a position."""

    files: tuple[Path, ...]
    upto: Mapping[Shard, int]


def sealed_up_to(
    store: Store, positions: Sequence[Position], heads: Mapping[int, int], *, by_day: bool
) -> Sealed:
    """What is sealed of the people's shards. Raises SegmentError for damage, and for the segments of another log.

    Segments from before events told when what they replace was cast cannot be read by day, nor what follows them.
    """
    files, upto = list[Path](), dict[Shard, int]()
    for shard, head in ((each.shard, each.number) for each in positions if each.shard != HOUSE):
        if store.last(shard) > heads[shard]:
            raise SegmentError(f"Shard {shard} is sealed further than its log goes: these are another log's.")
        for segment in store.segments(shard):
            if segment.first > head or (by_day and not store.check(segment).dated):
                break
            store.check(segment)
            files.append(store.path(segment))
            upto[shard] = min(segment.last, head)
    return Sealed(tuple(files), upto)


class SealedMoves:
    def __init__(self, store: Store, sealed: Sealed, told: Callable[[int], None], threads: int) -> None:
        self._store, self._sealed, self._told, self._threads = store, sealed, told, threads

    async def read_moves(self, moves: Moves, seconds: float, *, by_day: bool) -> None:
        query, add = (MOVES_BY_DAY, moves.add_by_day) if by_day else (MOVES, moves.add)
        await asyncio.to_thread(self._run, query, add, seconds)

    async def read_votes(self, votes: Votes, seconds: float, doubtful: Sequence[Key]) -> None:
        asked = {"tools": [tool for tool, _ in doubtful], "stretches": [number for _, number in doubtful]}
        await asyncio.to_thread(self._run, f", {DOUBTFUL} {VOTES}", votes.add, seconds, **asked)

    def _run(self, query: str, add: Callable[..., None], seconds: float, **values: object) -> None:
        if not self._sealed.files:
            return
        source = SEALED.replace("{source}", upcast_events("{events}", "duckdb"))
        bounds = {"shards": list(self._sealed.upto), "uptos": list(self._sealed.upto.values())}
        with duck.opened(self._threads, self._store.folder) as connection:
            found = duck.run(
                connection,
                f"WITH {source} {query}",
                self._sealed.files,
                seconds=seconds,
                **bounds,
                **values,
            )
            for row in found.fetchall():
                add(*row)
        self._told(sum(self._sealed.upto.values()))
