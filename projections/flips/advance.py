"""The flip engine: moves the flip log on by one piece of the log's own order across shards, exactly once.

A piece ends at a place, so that everything before that place has been folded and nothing after it, and at the latest at an
adoption. So one rulebook is in force all through it. Where that one does not weigh votes they are not read: they are
counted, in portions of their own, before a rulebook is adopted that does.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from asyncpg import Pool, Record

from domain.rulebooks.rulebook import Rulebook
from domain.shared.log import EDITORIAL, Position
from domain.timeline.flips import Flip
from domain.timeline.search import fold
from domain.timeline.timeline import RulebookChange, VerdictTimeline
from eventstore.as_of_positions import resolve_positions
from projections.engine.parked import PARK_EVENT
from projections.flips.batches import is_late, next_batch, uncounted, undated
from projections.flips.editorial_changes import EditorialChanges, read_changes, rulebook_at
from projections.flips.store import NAME, begin
from projections.flips.timelines import (
    advance_past_votes,
    read_all_timelines,
    read_timelines,
    save_sums,
    save_timelines,
)
from projections.flips.votes import Connection, PositionRanges, count_votes, date_votes, read_votes

# A time up to which something is to be folded, if anything is.
BEHIND = """
SELECT clock_timestamp()
 WHERE EXISTS (SELECT FROM flips_frontier AS f JOIN heads AS h USING (shard) WHERE f.position < h.position)
"""
READ_EDITORIAL_FRONTIER = "SELECT position FROM flips_frontier WHERE shard = 0"
CLAIM = "SELECT pg_try_advisory_xact_lock(hashtext('shiplog flips'))"
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
MOVE = """
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
WRITE = """
INSERT INTO flips (shard, recorded_at, cause_shard, cause_position, tool, event, before, after, rulebook)
SELECT 0, * FROM unnest($1::timestamptz[], $2::smallint[], $3::bigint[], $4::integer[], $5::text[], $6::text[],
                        $7::text[], $8::text[])
"""

NOTHING = PositionRanges([], [], [])
# In one transaction: folded, or only counted.
BATCH = 50_000
BATCH_COUNTED = 1_000_000


class FrontierMoved(Exception):
    """Another worker has found these flips. Nothing was kept; try again from the frontier."""


async def advance_flips(pool: Pool[Record], *, batch_events: int = BATCH) -> int | None:
    """Move the flip log on by one piece, in one transaction. Gives the events it went past or counted; None when there
    is nothing to do, or somebody else does it. Raises StillOpen while an append is under way that began long ago.
    """
    moment = await pool.fetchval(BEHIND)
    if moment is None:
        return None
    upto = await resolve_positions(pool, moment)
    async with pool.acquire() as conn, conn.transaction():
        return await fold_next(conn, upto, batch_events) if await conn.fetchval(CLAIM) else None


async def fold_next(conn: Connection, upto: Sequence[Position], batch_events: int) -> int | None:
    """In a transaction of whoever alone may do so: fold the next piece of what lies up to these positions."""
    if await is_late(conn):
        await begin(conn)
    batch = await next_batch(conn, upto, batch_events)
    if not batch.shards:
        return None
    after, last = batch.range_of(EDITORIAL) or (await conn.fetchval(READ_EDITORIAL_FRONTIER),) * 2
    book, changes = await rulebook_at(conn, after), await read_changes(conn, after, last)
    if counted := await _count_first(conn, batch, book, changes):
        return counted
    await _write(conn, await _fold(conn, batch, book, changes))
    for each in changes.unread:
        await conn.execute(PARK_EVENT, EDITORIAL, NAME, each.position.number, each.error[:500])
    if await conn.fetchval(MOVE, *batch.columns, book.weighs_votes, book.weighs_age) != len(batch.shards):
        raise FrontierMoved
    return batch.events


async def _count_first(
    conn: Connection, batch: PositionRanges, book: Rulebook, changes: EditorialChanges
) -> int:
    """What the rulebook in force, or the one that is adopted, has to know of votes that nobody has read."""
    adopted = changes.adoptions[-1].rulebook if changes.adoptions else book
    if book.weighs_votes or adopted.weighs_votes:
        span = await uncounted(conn, NOTHING if book.weighs_votes else batch, BATCH_COUNTED)
        if span.shards:
            await count_votes(conn, span)
            await conn.execute(MOVE_COUNTED, *span.columns)
            return span.events
    if book.weighs_age or adopted.weighs_age:
        span = await undated(conn, NOTHING if book.weighs_age else batch, BATCH_COUNTED)
        if span.shards:
            await date_votes(conn, span)
            await conn.execute(MOVE_DATED, *span.columns)
            return span.events
    return 0


async def _fold(
    conn: Connection, batch: PositionRanges, book: Rulebook, changes: EditorialChanges
) -> list[Flip]:
    passed = await advance_past_votes(conn, batch, book) if book.weighs_votes else {}
    takes = changes.takes_by_tool()
    skipped = {
        tool: found
        for tool, each in passed.items()
        if (found := each.fast_forward(takes.get(tool, []))) is not None
    }
    followed = {tool: each.timeline for tool, each in passed.items() if tool not in skipped}
    still = await _without_votes(conn, book, takes.keys() - passed.keys())

    votes = await read_votes(conn, batch, followed) if followed else {}
    moved = followed | still
    flips = [flip for found in skipped.values() for flip in found]
    for tool, timeline in moved.items():
        flips += fold(timeline, votes.get(tool, []), takes.get(tool, []))
    await save_timelines(
        conn, [*moved.values(), *(passed[tool].timeline for tool in takes.keys() & skipped.keys())]
    )
    await save_sums(conn, [each.timeline for each in passed.values()])
    for adopted in changes.adoptions:
        flips += await _adopt(conn, book, adopted)
    return flips


async def _without_votes(
    conn: Connection, book: Rulebook, tools: AbstractSet[int]
) -> dict[int, VerdictTimeline]:
    """The courses of tools that only takes moved, the new ones too."""
    begun = await read_timelines(conn, book, tools)
    return begun | {tool: VerdictTimeline(tool, book) for tool in tools - begun.keys()}


async def _adopt(conn: Connection, book: Rulebook, adopted: RulebookChange) -> list[Flip]:
    """Every tool is judged anew, at this one place."""
    timelines = await read_all_timelines(conn, book, dated=adopted.rulebook.weighs_age)
    flips = [flip for timeline in timelines.values() if (flip := timeline.change(adopted)) is not None]
    await save_timelines(conn, [timelines[flip.tool] for flip in flips])
    await save_sums(conn, timelines.values())
    return flips


async def _write(conn: Connection, flips: Sequence[Flip]) -> None:
    rows = [
        (f.place.recorded_at, f.place.shard, f.place.number, f.tool, f.event, f.before, f.after, f.rulebook)
        for f in flips
    ]
    if rows:
        await conn.execute(WRITE, *zip(*rows, strict=True))
