"""A trial: judge every tool over the whole log under another rulebook, and under the rulebooks that were in force.

Votes are first summed over time slices. A slice is skipped if its sums show that no vote flips the verdict; the others are
divided into shorter slices, and the single votes of those still ambiguous are folded in the order of the log.
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
from eventstore.heads import read_heads
from eventstore.sealed.store import Store
from projections.engine.blocked import first_unreadable
from projections.engine.snapshot import ReadModelBlocked
from projections.flips.editorial_history import (
    CHANGES_AND_TOOLS,
    EditorialHistory,
    read_editorial_history,
)
from projections.tally import TALLY
from projections.trials.from_postgres import PostgresVotes, ranges
from projections.trials.from_segments import SegmentVotes, sealed_up_to
from projections.trials.search import FlipSearch, VoteReader

Source: TypeAlias = Literal["postgres", "segments"]
Progress: TypeAlias = Callable[[int, int], None]
Scenarios: TypeAlias = tuple[Scenario, Scenario]

# The average number of a tool's votes in a slice. With more, slices are ambiguous more often; with fewer, there are more.
SLICE_VOTES = 256

READ_CHECKPOINTS = "SELECT shard, position FROM checkpoints WHERE projection = $1"
READ_TIME_SPAN = """
SELECT extract(epoch FROM max(recorded_at) - min(recorded_at))::float8
  FROM unnest($1::smallint[], $2::bigint[]) AS m (shard, upto)
  JOIN events AS e ON e.shard = m.shard AND e.position IN (1, m.upto)
"""


def ignore_progress(_done: int, _total: int) -> None:
    """The default: progress is not reported."""


async def try_rulebook(
    pool: Pool[Record],
    rulebook: Rulebook,
    positions: Sequence[Position],
    *,
    source: Source = "postgres",
    store: Store | None = None,
    progress: Progress = ignore_progress,
    threads: int = 2,
    slice_votes: int = SLICE_VOTES,
) -> Trial:
    """Over the log up to ``positions``, one per shard. ``progress`` is called with the events read and their total.

    With ``source`` segments, what is not sealed is read from Postgres. Raises ReadModelBlocked or UndecodableEvent for events
    of a newer release, and SegmentError for damage.
    """
    await _check_readable(pool, positions)
    history = await _read_history(pool, positions)
    scenarios = Scenario(DEFAULT, history.adoptions), Scenario(rulebook)
    by_day = any(each.weighs_age for each in scenarios)
    counter = _ProgressCounter(progress, sum(each.number for each in positions))
    sealed = None
    if source == "segments" and store is not None:
        found = await asyncio.to_thread(sealed_up_to, store, positions, await read_heads(pool))
        sealed = SegmentVotes(store, found, counter.add, threads)
    unsealed = PostgresVotes(pool, ranges(positions, sealed.upto if sealed else {}), counter.add)
    readers: list[VoteReader] = [sealed, unsealed] if sealed else [unsealed]
    seconds = await _slice_seconds(pool, positions, len(history.tools) * slice_votes, scenarios)
    with _collector_paused():
        await FlipSearch(history, scenarios, seconds).run(readers, by_day=by_day)
    counter.end()
    against = scenarios[0].rulebook.digest
    return Trial(rulebook.digest, against, tuple(positions), counter.total, compare(*scenarios))


async def _read_history(pool: Pool[Record], positions: Sequence[Position]) -> EditorialHistory:
    upto = {each.shard: each.number for each in positions}[EDITORIAL]
    history = await read_editorial_history(pool, 0, upto, CHANGES_AND_TOOLS)
    history.raise_unreadable()
    return history


async def _slice_seconds(
    pool: Pool[Record], positions: Sequence[Position], votes: int, scenarios: Scenarios
) -> float:
    """The length at which a slice has ``votes`` votes of all tools on average; infinite if no rulebook weighs votes."""
    if not any(each.weighs_votes for each in scenarios):
        return math.inf
    voters = [each for each in positions if each.shard != EDITORIAL]
    shards, uptos = [each.shard for each in voters], [each.number for each in voters]
    span = await pool.fetchval(READ_TIME_SPAN, shards, uptos)
    return max(16.0, (span or 0.0) * votes / max(sum(uptos), 1))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the garbage collector: a trial allocates millions of acyclic objects, and scanning them took a third of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


async def _check_readable(pool: Pool[Record], positions: Sequence[Position]) -> None:
    """Raises ReadModelBlocked for votes of a newer release. What the tally has folded needs no check."""
    folded = {row[0]: row[1] for row in await pool.fetch(READ_CHECKPOINTS, TALLY.name)}
    async with pool.acquire() as conn:
        for each in positions:
            after = folded.get(each.shard, 0)
            if after < each.number and await first_unreadable(conn, [TALLY], each.shard, after, each.number):
                raise ReadModelBlocked


class _ProgressCounter:
    """Counts the events read, capped at their total because ambiguous slices are read again."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self.total, self._done = progress, total, 0

    def add(self, events: int) -> None:
        self._done = min(self._done + events, self.total)
        self._progress(self._done, self.total)

    def end(self) -> None:
        self._progress(self.total, self.total)
