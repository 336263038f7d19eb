"""The rule lab: a rulebook is tried over the whole log, beside the rulebooks that were in force.

Votes are read as sums over stretches of time. Where the sums show that nothing can have flipped, a stretch is leapt; the
others are looked at in finer ones, and what is doubtful still is folded vote by vote, in the log's own order.
"""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

from asyncpg import Pool, Record

from domain.rulebooks.presets import DEFAULT
from domain.rulebooks.rulebook import Rulebook
from domain.shared.log import EDITORIAL, Position
from domain.timeline.scenarios import Scenario, compare
from domain.timeline.trials import Trial
from eventstore.as_of_positions import resolve_positions
from eventstore.heads import read_heads
from eventstore.sealed.store import Store
from projections.engine.blocked import first_unreadable
from projections.engine.snapshot import ReadModelBlocked
from projections.flips.editorial_history import read_editorial_history
from projections.tally import TALLY
from projections.trials.from_postgres import PostgresVoteDeltas, ranges
from projections.trials.from_segments import SegmentVoteDeltas, sealed_up_to
from projections.trials.search import FlipSearch

Source: TypeAlias = Literal["postgres", "segments"]
Progress: TypeAlias = Callable[[int, int], None]
Sides: TypeAlias = tuple[Scenario, Scenario]

# So many votes of a tool are in a stretch, on average. A longer one is leapt less often, and more of shorter ones have to
# be added up.
VOTES_A_STRETCH = 256

NOW = "SELECT clock_timestamp()"
CHECKPOINTS = "SELECT shard, position FROM checkpoints WHERE projection = $1"
SPAN = """
SELECT extract(epoch FROM max(recorded_at) - min(recorded_at))::float8
  FROM unnest($1::smallint[], $2::bigint[]) AS m (shard, upto)
  JOIN events AS e ON e.shard = m.shard AND e.position IN (1, m.upto)
"""


def nobody(_done: int, _total: int) -> None:
    """Listens to how far it is."""


async def try_rulebook(
    pool: Pool[Record],
    rulebook: Rulebook,
    positions: Sequence[Position] | None = None,
    *,
    source: Source = "postgres",
    store: Store | None = None,
    progress: Progress = nobody,
    threads: int = 2,
    votes_a_stretch: int = VOTES_A_STRETCH,
) -> Trial:
    """Over the log up to ``positions``, one per shard, or as it is now. ``progress`` is told events done, and of how many.

    From segments, what is not sealed is read from Postgres. Raises StoppedBefore or UndecodableEvent where the log holds
    what a newer version wrote, and SegmentError for damage.
    """
    positions = positions or await resolve_positions(pool, await pool.fetchval(NOW))
    await _check_readable(pool, positions)
    editorial = await read_editorial_history(pool, {each.shard: each.number for each in positions}[EDITORIAL])
    sides = Scenario(DEFAULT, editorial.adoptions), Scenario(rulebook)
    told = _Told(progress, sum(each.number for each in positions))
    by_day = any(side.weighs_age for side in sides)
    sealed = None
    if source == "segments" and store is not None:
        found = await asyncio.to_thread(sealed_up_to, store, positions, await read_heads(pool), by_day=by_day)
        sealed = SegmentVoteDeltas(store, found, told, threads)
    left = PostgresVoteDeltas(pool, ranges(positions, sealed.upto if sealed else {}), told)
    seconds = await _seconds(pool, positions, len(editorial.tools) * votes_a_stretch, sides)
    with _collecting_later():
        await FlipSearch(editorial, sides, seconds).run([sealed, left] if sealed else [left], by_day=by_day)
    told.end()
    against = sides[0].rulebook.digest
    return Trial(rulebook.digest, against, tuple(positions), told.total, compare(*sides))


async def _seconds(pool: Pool[Record], positions: Sequence[Position], votes: int, sides: Sides) -> float:
    """So long that all tools together have so many votes in a stretch, on average; endless where votes do not matter."""
    if not any(side.weighs_votes for side in sides):
        return math.inf
    people = [each for each in positions if each.shard != EDITORIAL]
    span = await pool.fetchval(SPAN, [each.shard for each in people], [each.number for each in people])
    return max(16.0, (span or 0.0) * votes / max(sum(each.number for each in people), 1))


@contextmanager
def _collecting_later() -> Iterator[None]:
    """Millions of small objects are made and kept, none of them in a ring: looking through them took a third of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


async def _check_readable(pool: Pool[Record], positions: Sequence[Position]) -> None:
    """What the tally has passed, it could read."""
    passed = {row[0]: row[1] for row in await pool.fetch(CHECKPOINTS, TALLY.name)}
    async with pool.acquire() as conn:
        for each in positions:
            after = passed.get(each.shard, 0)
            if after < each.number and await first_unreadable(conn, [TALLY], each.shard, after, each.number):
                raise ReadModelBlocked


class _Told:
    """Counts events as they are read; none is told twice."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self.total, self._done = progress, total, 0

    def __call__(self, events: int) -> None:
        self._done = min(self._done + events, self.total)
        self._progress(self._done, self.total)

    def end(self) -> None:
        self._progress(self.total, self.total)
