"""The engine: folds each read model's one SELECT over the next range of a shard, exactly once.

A projection is a SELECT over ``events``. The engine narrows ``events`` to a range and merges what the SELECT
gives into the read model's table; the text itself is the same for every range, live or recounted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.shared.log import Shard
from projections.engine.advance_lock import TRY_LOCK
from projections.engine.blocked import (
    blocked_by_poison,
    first_unreadable,
    is_blocked_by,
    known_families,
    record_unknown_types,
)
from projections.engine.parked import Parked
from projections.engine.poison import AT_FAULT, fold_past_poison
from projections.engine.projection import RANGE, Projection
from projections.engine.upcasting import quoted, with_upcasts

# A shard is claimed whole, or not at all: read models that advance together stay at one position.
CLAIM = f"""
SELECT c.projection, c.position, h.position AS head
  FROM checkpoints AS c JOIN heads AS h USING (shard)
 WHERE c.shard = $1 AND c.position < h.position
   AND (SELECT {TRY_LOCK})
   FOR NO KEY UPDATE OF c
"""
BEHIND = """
SELECT c.shard FROM checkpoints AS c JOIN heads AS h USING (shard)
 GROUP BY c.shard HAVING bool_or(c.position < h.position) ORDER BY c.shard
"""

TYPES = "SELECT position, type FROM events WHERE shard = $1 AND position = ANY($2)"
MOVE = """
WITH moved AS (
    UPDATE checkpoints SET position = $3 WHERE shard = $1 AND position = $2 AND projection = ANY($4) RETURNING projection)
SELECT count(*) FROM moved
"""

# How much of a shard one transaction folds: long enough to be cheap, short enough to be seen soon.
BATCH = 50_000
# Where an event in it may be poison: each read model folds it alone, halving what fails.
BATCH_APART = 2_048


def all_versions(projections: Sequence[Projection]) -> list[Projection]:
    """Each live read model, and those beside it that a checkpoint may be kept for."""
    return [each for live in projections for each in (live, live.shadow, live.previous)]


class Advanced(Struct, frozen=True):
    """What one transaction moved: up to where, and by how many events; and what of it could not be folded.

    ``caught_up``: nothing more was there when it began.
    """

    shard: Shard
    position: int
    events: int
    caught_up: bool
    parked: tuple[Parked, ...] = ()


class Claim(Struct, frozen=True):
    """The read models that are to move, and the range."""

    shard: Shard
    moving: Sequence[Projection]
    start: int
    upto: int
    head: int

    @property
    def names(self) -> list[str]:
        return [projection.name for projection in self.moving]


Fold: TypeAlias = "Callable[[PoolConnectionProxy[Record], Claim], Awaitable[Advanced]]"


class Unreadable(Exception):
    """The range has an event that a read model on the move has to read and cannot. Nothing was kept."""


class CheckpointMoved(Exception):
    """Another worker advanced this read model first. Nothing was kept; try again from its checkpoint."""


async def behind(pool: Pool[Record]) -> list[Shard]:
    """The shards with events that some read model has not folded."""
    return [Shard(row[0]) for row in await pool.fetch(BEHIND)]


async def advance(
    pool: Pool[Record], projections: Sequence[Projection], shard: Shard, *, batch: int = BATCH
) -> Advanced | None:
    """Move the shard's read models on by one range, in one transaction. None when there is nothing to claim.

    Those furthest behind move, and no further than to where the next ones wait for them: once at one
    position, all go on together. A stopped one (stops.py) stays where it is, and holds nobody back. What a read model
    cannot fold is parked (poison.py).
    """
    try:
        return await _advance(pool, projections, shard, batch, _fold_together)
    except Unreadable:
        return await _advance(pool, projections, shard, batch, _fold_apart)
    except AT_FAULT:
        return await _advance(pool, projections, shard, min(batch, BATCH_APART), _fold_apart)


async def _advance(
    pool: Pool[Record], projections: Sequence[Projection], shard: Shard, batch: int, way: Fold
) -> Advanced | None:
    async with pool.acquire() as conn, conn.transaction():
        rows = await conn.fetch(CLAIM, shard)
        stands = {row["projection"]: row["position"] for row in rows}
        due = [each for each in all_versions(projections) if each.name in stands]
        if way is _fold_apart or not _all_together(projections, stands):
            due = await _not_stopped(conn, shard, due, stands)
        if not due:
            return None
        return await way(conn, _claim(shard, due, stands, rows[0]["head"], batch))


def _all_together(projections: Sequence[Projection], stands: Mapping[str, int]) -> bool:
    """Nobody was left behind: every read model is due, and at one position."""
    folded = [each.name for each in projections if each.view is None]
    return len(set(stands.values())) == 1 and all(name in stands for name in folded)


async def _not_stopped(
    conn: PoolConnectionProxy[Record], shard: Shard, due: Sequence[Projection], stands: Mapping[str, int]
) -> list[Projection]:
    """Those that go on. Only asked where one may have been left behind, or something was found in a range."""
    following = sorted({position + 1 for position in stands.values()})
    types = {row["position"]: row["type"] for row in await conn.fetch(TYPES, shard, following)}
    going = [each for each in due if not is_blocked_by(each, types.get(stands[each.name] + 1))]
    parked_too_much = await blocked_by_poison(conn, shard)
    return [each for each in going if each.name not in parked_too_much]


def _claim(
    shard: Shard, due: Sequence[Projection], stands: Mapping[str, int], head: int, batch: int
) -> Claim:
    start = min(stands[each.name] for each in due)
    moving = [each for each in due if stands[each.name] == start]
    ahead = [stands[each.name] for each in due if each not in moving]
    return Claim(shard, moving, start, min([*ahead, head, start + batch]), head)


async def _fold_together(conn: PoolConnectionProxy[Record], claim: Claim) -> Advanced:
    """All in one statement: as long as every event is understood by everybody."""
    reading = [each for each in claim.moving if each.reads(claim.shard)]
    rows = await conn.fetch(fold(reading), claim.shard, claim.start, claim.upto, claim.names)
    if rows[0]["moved"] != len(claim.moving):
        raise CheckpointMoved
    met = [row["type"] for row in rows if row["type"] is not None]
    if any(is_blocked_by(projection, each) for projection in claim.moving for each in met):
        raise Unreadable
    if met:
        await record_unknown_types(conn, claim.moving, claim.shard, claim.start, claim.upto)
    return Advanced(claim.shard, claim.upto, claim.upto - claim.start, claim.upto == claim.head)


async def _fold_apart(conn: PoolConnectionProxy[Record], claim: Claim) -> Advanced:
    """One after the other, up to what the first of them has to stop at, and past what one of them cannot fold."""
    stop = await first_unreadable(conn, claim.moving, claim.shard, claim.start, claim.upto)
    upto = claim.upto if stop is None else stop - 1
    parked: list[Parked] = []
    for projection in claim.moving:
        parked += await fold_past_poison(conn, projection, claim.shard, claim.start, upto)
    await record_unknown_types(conn, claim.moving, claim.shard, claim.start, upto)
    if await conn.fetchval(MOVE, claim.shard, claim.start, upto, claim.names) != len(claim.moving):
        raise CheckpointMoved
    return Advanced(claim.shard, upto, upto - claim.start, upto == claim.head, tuple(parked))


def fold(projections: Sequence[Projection]) -> str:
    """Fold a range into these tables and move checkpoints; gives how many of these stood at its start.

    And, on rows of their own, the types in it that nobody has heard of.
    """
    merges = "".join(f"{projection.name} AS ({projection.merge}), " for projection in projections)
    statement = f"""
        WITH {RANGE}, {merges}moved AS (
            UPDATE checkpoints SET position = $3 WHERE shard = $1 AND position = $2 AND projection = ANY($4)
            RETURNING projection),
        met AS (SELECT DISTINCT type FROM events WHERE type NOT IN ({quoted(known_families(projections))}))
        SELECT moved, type FROM (SELECT count(*) AS moved FROM moved) AS m LEFT JOIN met ON true"""
    return with_upcasts(statement)
