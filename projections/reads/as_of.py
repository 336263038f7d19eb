"""The past: reads as of a moment. In a query, a read model's name then means its fold over the log up to there.

The queries are the live ones, and the folds are the projections' own. What the house did is folded from the start;
tallies, daily votes and bookmark counts are the sums of whole blocks, and the fold of the events after those.
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
from projections.block_bookmarks import BLOCK_BOOKMARKS
from projections.block_days import BLOCK_DAYS
from projections.block_tally import BLOCK, BLOCK_TALLY
from projections.bookmark_counts import BOOKMARK_COUNTS
from projections.catalogue import CATALOGUE
from projections.daily_votes import DAILY_VOTES
from projections.engine.blocked import first_unreadable
from projections.engine.poison import AT_FAULT
from projections.engine.projection import Projection
from projections.engine.snapshot import Freshness, ReadModelBehind, ReadModelBlocked, Snapshot
from projections.engine.upcasting import excluding_parked, with_upcasts
from projections.panel import PANEL
from projections.rulebooks import RULEBOOKS
from projections.scorecard import SCORECARD
from projections.tally import TALLY

BLOCKS = {
    TALLY.name: BLOCK_TALLY,
    DAILY_VOTES.name: BLOCK_DAYS,
    BOOKMARK_COUNTS.name: BLOCK_BOOKMARKS,
}
EDITORIAL_READ_MODELS = (CATALOGUE.name, SCORECARD.name, PANEL.name, RULEBOOKS.name, ADOPTIONS.name)

BLOCKS_REACH = """
SELECT bool_and(c.position >= m.position - $4)
  FROM unnest($1::smallint[], $2::bigint[]) AS m (shard, position)
  LEFT JOIN checkpoints AS c ON c.shard = m.shard AND c.projection = ANY($3)
"""
CHECKPOINTS = """
SELECT projection, shard, position FROM checkpoints WHERE shard = ANY($1) AND projection = ANY($2)
"""
PARKED = """
SELECT projection, shard, position FROM parked_events WHERE shard = ANY($1) AND projection = ANY($2)
"""

# The log is too large to look through, whatever its size was when a plan was made.
BY_KEY = "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"

WAIT_SECONDS_MAX = 2.0


class AsOfSnapshot(Snapshot):
    """A snapshot of the state at ``positions``, one per shard. It leaves out what is parked now."""

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
        shown = as_of(projection, query, len(args) + 1, parked=parked)
        try:
            return await self._conn.fetch(shown, *args, self._shards, self._numbers)
        except AT_FAULT:  # by an event that no worker has come to, and parked, yet
            raise ReadModelBehind from None

    async def fetch_as_is(self, query: str, *args: object) -> list[Record]:
        """A query that names its own range of the log."""
        return await self._conn.fetch(query, *args)

    async def freshness(self) -> Freshness:
        upto = dict(zip(self._shards, self._numbers, strict=True))
        mine = [row for row in self._parked if row["projection"] in self._read]
        return Freshness(self.positions, 0, sum(row["position"] <= upto[row["shard"]] for row in mine))

    async def _check_read(self, projection: Projection) -> None:
        """What the read model has passed, it could read. Raises StoppedBefore if something after that cannot be."""
        upto = dict(zip(self._shards, self._numbers, strict=True))
        for name, shard, position in self._checkpoints:
            behind = name == projection.name and position < upto[shard]
            if (
                behind
                and await first_unreadable(self._conn, [projection], shard, position, upto[shard]) is not None
            ):
                raise ReadModelBlocked

    def check_listed(self, slug: str, tool: int) -> None:
        """A tool's number is the position of its listing."""
        if tool > self.editorial_position:
            raise NotListedYet(tool=slug)

    @property
    def editorial_position(self) -> int:
        """The house's last position at this moment."""
        return next(each.number for each in self.positions if each.shard == EDITORIAL)


@asynccontextmanager
async def snapshot_as_of(
    pool: Pool[Record], *moments: Sequence[Position], behind: int = BLOCK
) -> AsyncIterator[list[AsOfSnapshot]]:
    """The past at each of these, all in one snapshot.

    Blocks may be behind the moment by so many events; those are folded along. Further behind, this waits for them.
    Raises NotThereYet.
    """
    for positions in moments:
        await _wait_for_blocks(pool, positions, behind)
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        await conn.execute(BY_KEY)
        yield [await _snapshot_at(conn, positions) for positions in moments]


async def _snapshot_at(conn: PoolConnectionProxy[Record], positions: Sequence[Position]) -> AsOfSnapshot:
    shards, names = [each.shard for each in positions], [*EDITORIAL_READ_MODELS, *BLOCKS]
    checkpoints = await conn.fetch(CHECKPOINTS, shards, names)
    return AsOfSnapshot(conn, positions, checkpoints, await conn.fetch(PARKED, shards, names))


async def _wait_for_blocks(pool: Pool[Record], positions: Sequence[Position], behind: int) -> None:
    shards, numbers = [each.shard for each in positions], [each.number for each in positions]
    names = [blocks.name for blocks in BLOCKS.values()]
    reached = partial(pool.fetchval, BLOCKS_REACH, shards, numbers, names, behind)
    if not await poll_until(reached, WAIT_SECONDS_MAX):
        raise ReadModelBehind


def as_of(projection: Projection, query: str, first: int, *, parked: bool = False) -> str:
    """The query with its read model as of a moment: shards in argument ``first``, positions in the one after.

    With ``parked`` it leaves out what the read model has parked.
    """
    before, events, folded = (_fold_blocks if projection.name in BLOCKS else _fold_editorial)(projection)
    return with_upcasts(f"""
        WITH moment AS (
            SELECT * FROM unnest(${first}::smallint[], ${first + 1}::bigint[]) AS m (shard, position)),
        {before}
        {excluding_parked(events, projection.name) if parked else events},
        {projection.name} AS ({folded}) {query}""")


def _fold_editorial(projection: Projection) -> tuple[str, str, str]:
    assert projection.name in EDITORIAL_READ_MODELS, f"{projection.name} has no past to be read"
    events = """events AS (
            SELECT * FROM public.events
             WHERE shard = 0 AND position <= (SELECT position FROM moment WHERE shard = 0))"""
    return "", events, projection.as_of


def _fold_blocks(projection: Projection) -> tuple[str, str, str]:
    """Blocks are whole up to ``after``: what is in them has been folded, and none of it is later than the moment."""
    blocks, columns = BLOCKS[projection.name], ", ".join(("shard", *projection.columns))
    before = f"""
        whole AS MATERIALIZED (
            SELECT m.shard, m.position, least(c.position, m.position) / {BLOCK} * {BLOCK} AS after
              FROM moment AS m
              JOIN checkpoints AS c ON c.shard = m.shard AND c.projection = '{blocks.name}'),"""
    events = """events AS (
            SELECT e.* FROM whole AS w
              JOIN public.events AS e
                ON e.shard = w.shard AND e.position > w.after AND e.position <= w.position)"""
    folded = f"""
            SELECT {columns} FROM whole JOIN read_models.{blocks.name} USING (shard) WHERE block < after / {BLOCK}
             UNION ALL {projection.as_of}"""
    return before, events, folded
