"""The past: reads as of a moment. In a query, a read model's name then means its fold over the log up to there.

The queries are the live ones, and the folds are the projections' own. What the house did is folded from the start;
tallies and bookmark counts are the sums of whole blocks, and the fold of the events after those.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy

from domain.log import HOUSE, Position
from domain.refusals import NotListedYet
from projections.block_bookmarks import BLOCK_BOOKMARKS
from projections.block_tally import BLOCK, BLOCK_TALLY
from projections.bookmark_counts import BOOKMARK_COUNTS
from projections.catalogue import CATALOGUE
from projections.panel import PANEL
from projections.projection import Projection
from projections.scorecard import SCORECARD
from projections.snapshot import Freshness, NotThereYet, Snapshot
from projections.tally import TALLY

BLOCKS = {TALLY.name: BLOCK_TALLY, BOOKMARK_COUNTS.name: BLOCK_BOOKMARKS}
OF_HOUSE = (CATALOGUE.name, SCORECARD.name, PANEL.name)

BLOCKS_REACH = """
SELECT bool_and(c.position >= m.position - $4)
  FROM unnest($1::smallint[], $2::bigint[]) AS m (shard, position)
  LEFT JOIN checkpoints AS c ON c.shard = m.shard AND c.projection = ANY($3)
"""
# The log is too large to look through, whatever its size was when a plan was made.
BY_KEY = "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"

_PATIENCE_SECONDS = 2.0
_POLL_SECONDS = 0.015


class Past(Snapshot):
    """A snapshot of the state at ``positions``, one per shard."""

    def __init__(self, conn: PoolConnectionProxy[Record], positions: Sequence[Position]) -> None:
        super().__init__(conn)
        self.positions = tuple(positions)
        self._shards = [position.shard for position in positions]
        self._numbers = [position.number for position in positions]

    async def fetch(self, projection: Projection, query: str, *args: object) -> list[Record]:
        shown = as_of(projection, query, len(args) + 1)
        return await self._conn.fetch(shown, *args, self._shards, self._numbers)

    async def fetch_as_is(self, query: str, *args: object) -> list[Record]:
        """A query that names its own range of the log."""
        return await self._conn.fetch(query, *args)

    async def freshness(self) -> Freshness:
        return Freshness(self.positions, 0)

    def check_listed(self, slug: str, tool: int) -> None:
        """A tool's number is the position of its listing."""
        if tool > self.house:
            raise NotListedYet(tool=slug)

    @property
    def house(self) -> int:
        """The house's last position at this moment."""
        return next(each.number for each in self.positions if each.shard == HOUSE)


@asynccontextmanager
async def look_back(
    pool: Pool[Record], *moments: Sequence[Position], behind: int = BLOCK
) -> AsyncIterator[list[Past]]:
    """The past at each of these, all in one snapshot.

    Blocks may be behind the moment by so many events; those are folded along. Further behind, this waits for them.
    Raises NotThereYet.
    """
    for positions in moments:
        await _wait_for_blocks(pool, positions, behind)
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        await conn.execute(BY_KEY)
        yield [Past(conn, positions) for positions in moments]


async def _wait_for_blocks(pool: Pool[Record], positions: Sequence[Position], behind: int) -> None:
    shards, numbers = [each.shard for each in positions], [each.number for each in positions]
    names = [blocks.name for blocks in BLOCKS.values()]
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not await pool.fetchval(BLOCKS_REACH, shards, numbers, names, behind):
        if time.monotonic() > deadline:
            raise NotThereYet
        await asyncio.sleep(_POLL_SECONDS)


def as_of(projection: Projection, query: str, first: int) -> str:
    """The query with its read model as of a moment: shards in argument ``first``, positions in the one after."""
    folded = _of_blocks(projection) if projection.name in BLOCKS else _of_house(projection)
    return f"""
        WITH moment AS (
            SELECT * FROM unnest(${first}::smallint[], ${first + 1}::bigint[]) AS m (shard, position)),
        {folded} {query}"""


def _of_house(projection: Projection) -> str:
    assert projection.name in OF_HOUSE, f"{projection.name} has no past to be read"
    return f"""
        events AS (
            SELECT * FROM public.events
             WHERE shard = 0 AND position <= (SELECT position FROM moment WHERE shard = 0)),
        {projection.name} AS ({projection.as_of})"""


def _of_blocks(projection: Projection) -> str:
    """Blocks are whole up to ``after``: what is in them has been folded, and none of it is later than the moment."""
    blocks, columns = BLOCKS[projection.name], ", ".join(("shard", *projection.columns))
    return f"""
        whole AS MATERIALIZED (
            SELECT m.shard, m.position, least(c.position, m.position) / {BLOCK} * {BLOCK} AS after
              FROM moment AS m
              JOIN checkpoints AS c ON c.shard = m.shard AND c.projection = '{blocks.name}'),
        events AS (
            SELECT e.* FROM whole AS w
              JOIN public.events AS e
                ON e.shard = w.shard AND e.position > w.after AND e.position <= w.position),
        {projection.name} AS (
            SELECT {columns} FROM whole JOIN read_models.{blocks.name} USING (shard) WHERE block < after / {BLOCK}
             UNION ALL {projection.as_of})"""
