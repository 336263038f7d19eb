"""Reads as of a past position: in a query, the name of a read model means the fold of the log up to that position.

Queries and folds are those of the live read models. Editorial read models are folded from the start of the log. Sums are
those of the whole blocks before the position, and the fold of the events after these blocks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy

from domain.shared.errors import NotListedYet
from domain.shared.log import EDITORIAL, Position
from eventstore.polling import poll_until
from projections.adoptions import ADOPTIONS
from projections.bookmark_counts import BLOCK_BOOKMARKS, BOOKMARK_COUNTS
from projections.catalogue import CATALOGUE
from projections.daily_votes import BLOCK_DAYS, DAILY_VOTES
from projections.engine.blocked import first_unreadable
from projections.engine.blocks import BLOCK_EVENTS
from projections.engine.poison import POISON_ERRORS
from projections.engine.projection import Projection
from projections.engine.snapshot import Freshness, ReadModelBehind, ReadModelBlocked, Snapshot
from projections.engine.upcasting import excluding_parked, with_upcasts
from projections.panel import PANEL
from projections.rulebooks import RULEBOOKS
from projections.scorecard import SCORECARD
from projections.tally import BLOCK_TALLY, TALLY

BLOCKS = {
    TALLY.name: BLOCK_TALLY,
    DAILY_VOTES.name: BLOCK_DAYS,
    BOOKMARK_COUNTS.name: BLOCK_BOOKMARKS,
}
EDITORIAL_READ_MODELS = (CATALOGUE.name, SCORECARD.name, PANEL.name, RULEBOOKS.name, ADOPTIONS.name)

ARE_BLOCKS_READY = """
SELECT bool_and(c.position >= as_of.position - $4)
  FROM unnest($1::smallint[], $2::bigint[]) AS as_of (shard, position)
  LEFT JOIN checkpoints AS c ON c.shard = as_of.shard AND c.projection = ANY($3)
"""
READ_CHECKPOINTS = """
SELECT projection, shard, position FROM checkpoints WHERE shard = ANY($1) AND projection = ANY($2)
"""
READ_PARKED_EVENTS = """
SELECT projection, shard, position FROM parked_events WHERE shard = ANY($1) AND projection = ANY($2)
"""

# Never scan the log: a cached plan may have been made when it was small.
USE_INDEXES = """
SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off
"""

WAIT_SECONDS_MAX = 2.0


class AsOfSnapshot(Snapshot):
    """The state at ``positions``, one per shard, without the events that are parked now."""

    def __init__(
        self,
        conn: PoolConnectionProxy[Record],
        positions: Sequence[Position],
        checkpoints: Sequence[Record],
        parked: Sequence[Record],
    ) -> None:
        super().__init__(conn)
        self._checkpoints, self._parked = checkpoints, parked
        self.positions = tuple(positions)
        self._shards = [position.shard for position in positions]
        self._numbers = [position.number for position in positions]

    async def fetch(self, projection: Projection, query: str, *args: object) -> list[Record]:
        self._read.add(projection.name)
        await self._check_read(projection)
        parked = any(row["projection"] == projection.name for row in self._parked)
        statement = as_of(projection, query, len(args) + 1, exclude_parked=parked)
        try:
            return await self._conn.fetch(statement, *args, self._shards, self._numbers)
        except POISON_ERRORS:  # caused by an event that no worker has reached and parked yet
            raise ReadModelBehind from None

    async def freshness(self) -> Freshness:
        upto = dict(zip(self._shards, self._numbers, strict=True))
        parked = [row for row in self._parked if row["projection"] in self._read]
        return Freshness(self.positions, 0, sum(row["position"] <= upto[row["shard"]] for row in parked))

    async def _check_read(self, projection: Projection) -> None:
        """Raises ReadModelBlocked if an event between the checkpoint and the moment cannot be read."""
        upto = dict(zip(self._shards, self._numbers, strict=True))
        for name, shard, position in self._checkpoints:
            if name == projection.name and position < upto[shard]:
                found = await first_unreadable(self._conn, [projection], shard, position, upto[shard])
                if found is not None:
                    raise ReadModelBlocked

    def check_listed(self, slug: str, tool: int) -> None:
        """A tool's number is the position of the event that listed it."""
        if tool > self.editorial_position:
            raise NotListedYet(tool=slug)

    @property
    def editorial_position(self) -> int:
        """The position in the editorial shard."""
        return next(each.number for each in self.positions if each.shard == EDITORIAL)


@asynccontextmanager
async def snapshot_as_of(
    pool: Pool[Record], *moments: Sequence[Position], behind: int = BLOCK_EVENTS
) -> AsyncIterator[list[AsOfSnapshot]]:
    """One snapshot as of each of ``moments``, all in one transaction.

    The block sums may be up to ``behind`` events behind a moment: those events are folded as well. If they are further
    behind, this waits for them. Raises ReadModelBehind.
    """
    for positions in moments:
        await _wait_for_blocks(pool, positions, behind)
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        await conn.execute(USE_INDEXES)
        yield [await _snapshot_at(conn, positions) for positions in moments]


async def _snapshot_at(conn: PoolConnectionProxy[Record], positions: Sequence[Position]) -> AsOfSnapshot:
    shards, names = [each.shard for each in positions], [*EDITORIAL_READ_MODELS, *BLOCKS]
    checkpoints = await conn.fetch(READ_CHECKPOINTS, shards, names)
    return AsOfSnapshot(conn, positions, checkpoints, await conn.fetch(READ_PARKED_EVENTS, shards, names))


async def _wait_for_blocks(pool: Pool[Record], positions: Sequence[Position], behind: int) -> None:
    shards, numbers = [each.shard for each in positions], [each.number for each in positions]
    names = [blocks.name for blocks in BLOCKS.values()]
    reached = partial(pool.fetchval, ARE_BLOCKS_READY, shards, numbers, names, behind)
    if not await poll_until(reached, WAIT_SECONDS_MAX):
        raise ReadModelBehind


def as_of(projection: Projection, query: str, first: int, *, exclude_parked: bool = False) -> str:
    """The query with its read model as of a moment: argument ``first`` has the shards, the next one the positions."""
    complete_blocks, events, rows = (_fold_blocks if projection.name in BLOCKS else _fold_editorial)(
        projection
    )
    return with_upcasts(f"""
        WITH moment AS (
            SELECT * FROM unnest(${first}::smallint[], ${first + 1}::bigint[]) AS m (shard, position)),
        {complete_blocks}
        {excluding_parked(events, projection.name) if exclude_parked else events},
        {projection.name} AS ({rows}) {query}""")


def _fold_editorial(projection: Projection) -> tuple[str, str, str]:
    assert projection.name in EDITORIAL_READ_MODELS, f"{projection.name} cannot be read as of a past position"
    events = """events AS (
            SELECT * FROM public.events
             WHERE shard = 0 AND position <= (SELECT position FROM moment WHERE shard = 0))"""
    return "", events, projection.fold_select


def _fold_blocks(projection: Projection) -> tuple[str, str, str]:
    """Up to ``after`` all blocks are complete: all their events are folded, and none is after the moment."""
    blocks = BLOCKS[projection.name]
    complete_blocks = f"""
        complete AS MATERIALIZED (
            SELECT m.shard, m.position, least(c.position, m.position) / {BLOCK_EVENTS} * {BLOCK_EVENTS} AS after
              FROM moment AS m
              JOIN checkpoints AS c ON c.shard = m.shard AND c.projection = '{blocks.name}'),"""
    events = """events AS (
            SELECT e.* FROM complete AS c
              JOIN public.events AS e
                ON e.shard = c.shard AND e.position > c.after AND e.position <= c.position)"""
    rows = f"""
            SELECT {projection.column_list}
              FROM complete JOIN read_models.{blocks.name} USING (shard) WHERE block < after / {BLOCK_EVENTS}
             UNION ALL {projection.fold_select}"""
    return complete_blocks, events, rows
