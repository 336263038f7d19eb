"""The flip engine: advances the flip log by one batch of the order of the log across shards, exactly once.

A batch ends at the latest at an adoption, so one rulebook is in force throughout. Votes are not read while
that rulebook does not weigh them; before one that does is adopted, they are counted in separate batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from asyncpg import Pool, Record

from domain.rulebooks.rulebook import Rulebook
from domain.shared.log import EDITORIAL, Position
from domain.timeline.changes import RulebookChange
from domain.timeline.flips import Flip
from domain.timeline.timeline import VerdictTimeline
from eventstore.as_of_positions import resolve_positions
from projections.engine.parked import PARK_EVENT
from projections.flips.batches import is_late, next_batch, uncounted, undated
from projections.flips.editorial_history import EditorialHistory, read_editorial_history, rulebook_at
from projections.flips.store import NAME, begin
from projections.flips.timelines import (
    ToolBatch,
    count_batch,
    read_all_timelines,
    read_timelines,
    save_sums,
    save_timelines,
)
from projections.flips.votes import Connection, PositionRanges, count_votes, date_votes, read_votes

# The time now, if there are events to fold.
READ_CLOCK_IF_BEHIND = """
SELECT clock_timestamp()
 WHERE EXISTS (SELECT FROM flips_frontier AS f JOIN heads AS h USING (shard) WHERE f.position < h.position)
"""
READ_EDITORIAL_FRONTIER = "SELECT position FROM flips_frontier WHERE shard = 0"
CLAIM_FLIPS = "SELECT pg_try_advisory_xact_lock(hashtext('shiplog flips'))"
MOVE_COUNTED = """
UPDATE flips_frontier AS f SET counted = r.upto
  FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS r (shard, after, upto)
 WHERE f.shard = r.shard AND f.counted = r.after
"""
MOVE_DATED = """
UPDATE flips_frontier AS f SET dated = r.upto
  FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS r (shard, after, upto)
 WHERE f.shard = r.shard AND f.dated = r.after
"""
MOVE_FRONTIER = """
WITH r AS MATERIALIZED (
    SELECT r.*, e.recorded_at FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) AS r (shard, after, upto)
      JOIN events AS e ON e.shard = r.shard AND e.position = r.upto
), moved AS (
    UPDATE flips_frontier AS f
       SET position = r.upto, recorded_at = r.recorded_at,
           counted = CASE WHEN $4 THEN r.upto ELSE counted END, dated = CASE WHEN $5 THEN r.upto ELSE dated END
      FROM r WHERE f.shard = r.shard AND f.position = r.after
    RETURNING f.shard)
SELECT count(*) FROM moved
"""
WRITE_FLIPS = """
INSERT INTO flips (shard, recorded_at, cause_shard, cause_position, tool, event, before, after, rulebook)
SELECT 0, * FROM unnest($1::timestamptz[], $2::smallint[], $3::bigint[], $4::integer[], $5::text[], $6::text[],
                        $7::text[], $8::text[])
"""

NO_RANGES = PositionRanges([], [], [])
# Events in one transaction: folded, or only counted.
BATCH_EVENTS = 50_000
COUNT_BATCH_EVENTS = 1_000_000


class FrontierMoved(Exception):
    """Another worker has moved the frontier. Nothing was written; try again from the frontier."""


async def advance_flips(pool: Pool[Record], *, batch_events: int = BATCH_EVENTS) -> int | None:
    """Advance by one batch, in one transaction. Returns the number of events folded or counted; None if there is nothing to
    do or another worker holds the lock. Raises AppendInFlight while an append that began long ago is not committed.
    """
    moment = await pool.fetchval(READ_CLOCK_IF_BEHIND)
    if moment is None:
        return None
    upto = await resolve_positions(pool, moment)
    async with pool.acquire() as conn, conn.transaction():
        return await fold_next(conn, upto, batch_events) if await conn.fetchval(CLAIM_FLIPS) else None


async def fold_next(conn: Connection, upto: Sequence[Position], batch_events: int) -> int | None:
    """Fold the next batch up to these positions, in the caller's transaction, which holds the lock."""
    if await is_late(conn):
        await begin(conn)
    batch = await next_batch(conn, upto, batch_events)
    if not batch.shards:
        return None
    after, last = batch.range_of(EDITORIAL) or (await conn.fetchval(READ_EDITORIAL_FRONTIER),) * 2
    book, history = await rulebook_at(conn, after), await read_editorial_history(conn, after, last)
    if counted := await _count_earlier_votes(conn, batch, book, history):
        return counted
    await _write(conn, await _fold(conn, batch, book, history))
    for each in history.unreadable:
        await conn.execute(PARK_EVENT, EDITORIAL, NAME, each.position.number, str(each.error)[:500])
    moved = await conn.fetchval(MOVE_FRONTIER, *batch.columns, book.weighs_votes, book.weighs_age)
    if moved != len(batch.shards):
        raise FrontierMoved
    return batch.events


async def _count_earlier_votes(
    conn: Connection, batch: PositionRanges, book: Rulebook, history: EditorialHistory
) -> int:
    """Count votes that were not read so far, if the rulebook in force or the one adopted weighs them. Returns their events."""
    adopted = history.adoptions[-1].rulebook if history.adoptions else book
    if book.weighs_votes or adopted.weighs_votes:
        ranges = await uncounted(conn, NO_RANGES if book.weighs_votes else batch, COUNT_BATCH_EVENTS)
        if ranges.shards:
            await count_votes(conn, ranges)
            await conn.execute(MOVE_COUNTED, *ranges.columns)
            return ranges.events
    if book.weighs_age or adopted.weighs_age:
        ranges = await undated(conn, NO_RANGES if book.weighs_age else batch, COUNT_BATCH_EVENTS)
        if ranges.shards:
            await date_votes(conn, ranges)
            await conn.execute(MOVE_DATED, *ranges.columns)
            return ranges.events
    return 0


async def _fold(
    conn: Connection, batch: PositionRanges, book: Rulebook, history: EditorialHistory
) -> list[Flip]:
    tools = await count_batch(conn, batch, book) if book.weighs_votes else {}
    flips, ambiguous = _fast_forward(tools, history)
    votes = await read_votes(conn, batch, ambiguous) if ambiguous else {}
    without_votes = await _read_or_create(conn, book, history.takes.keys() - tools.keys())
    folded = ambiguous | without_votes
    for tool, timeline in folded.items():
        flips += timeline.fold(votes.get(tool, []), history.takes.get(tool, []))
    skipped_with_takes = (tools.keys() & history.takes.keys()) - folded.keys()
    await save_timelines(conn, [*folded.values(), *(tools[tool].timeline for tool in skipped_with_takes)])
    await save_sums(conn, [each.timeline for each in tools.values()])
    for adopted in history.adoptions:
        flips += await _adopt(conn, book, adopted)
    return flips


def _fast_forward(
    tools: dict[int, ToolBatch], history: EditorialHistory
) -> tuple[list[Flip], dict[int, VerdictTimeline]]:
    """The flips that takes caused, and the timelines of the tools that have to be folded vote by vote."""
    flips, ambiguous = list[Flip](), dict[int, VerdictTimeline]()
    for tool, tool_batch in tools.items():
        timeline, delta = tool_batch.timeline, tool_batch.delta
        found = timeline.fast_forward(delta, timeline.votes.weigh(delta), history.takes.get(tool, []))
        if found is None:
            ambiguous[tool] = timeline
        else:
            flips += found
    return flips, ambiguous


async def _read_or_create(
    conn: Connection, book: Rulebook, tools: AbstractSet[int]
) -> dict[int, VerdictTimeline]:
    stored = await read_timelines(conn, book, tools)
    return stored | {tool: VerdictTimeline(tool, book) for tool in tools - stored.keys()}


async def _adopt(conn: Connection, book: Rulebook, adopted: RulebookChange) -> list[Flip]:
    """Judge every tool again. The adoption is the cause of all these flips."""
    timelines = await read_all_timelines(conn, book, dated=adopted.rulebook.weighs_age)
    flips = [flip for timeline in timelines.values() if (flip := timeline.change(adopted)) is not None]
    await save_timelines(conn, [timelines[flip.tool] for flip in flips])
    await save_sums(conn, timelines.values())
    return flips


async def _write(conn: Connection, flips: Sequence[Flip]) -> None:
    rows = [
        (f.order.recorded_at, f.order.shard, f.order.number, f.tool, f.event, f.before, f.after, f.rulebook)
        for f in flips
    ]
    if rows:
        await conn.execute(WRITE_FLIPS, *zip(*rows, strict=True))
