"""The engine: folds the next range of a shard into every read model, exactly once.

A projection is a SELECT over ``events``. The engine narrows ``events`` to a range, upserts the SELECT's rows into the
read model's table, and moves the checkpoint in the same transaction.
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
from projections.engine.parked import ParkedEvent
from projections.engine.poison import POISON_ERRORS, fold_past_poison
from projections.engine.projection import RANGE, Projection
from projections.engine.upcasting import quoted, with_upcasts

# All read models of a shard are claimed, or none, so that those at one position stay at one position.
CLAIM_SHARD = f"""
SELECT c.projection, c.position, h.position AS head
  FROM checkpoints AS c JOIN heads AS h USING (shard)
 WHERE c.shard = $1 AND c.position < h.position
   AND (SELECT {TRY_LOCK})
   FOR NO KEY UPDATE OF c
"""
READ_SHARDS_BEHIND = """
SELECT c.shard FROM checkpoints AS c JOIN heads AS h USING (shard)
 GROUP BY c.shard HAVING bool_or(c.position < h.position) ORDER BY c.shard
"""
READ_TYPES = "SELECT position, type FROM events WHERE shard = $1 AND position = ANY($2)"
MOVE_CHECKPOINTS = """
WITH moved AS (
    UPDATE checkpoints SET position = $3 WHERE shard = $1 AND position = $2 AND projection = ANY($4) RETURNING projection)
SELECT count(*) FROM moved
"""

# The limit of one transaction: large enough to be cheap, small enough that readers see votes soon.
BATCH_EVENTS = 50_000
# A batch that may contain poison: each read model folds it separately, and halves a range that fails.
SEPARATE_BATCH_EVENTS = 2_048


class AdvanceResult(Struct, frozen=True):
    """One transaction advanced read models to ``position``, over ``events`` events.

    ``caught_up``: that was the shard's head when the transaction began. ``parked``: the events that could not be folded.
    """

    shard: Shard
    position: int
    events: int
    caught_up: bool
    parked: tuple[ParkedEvent, ...] = ()


class Claim(Struct, frozen=True):
    """Read models and the range to fold into them: after ``start`` and up to ``upto``."""

    shard: Shard
    projections: Sequence[Projection]
    start: int
    upto: int
    head: int

    @property
    def names(self) -> list[str]:
        return [projection.name for projection in self.projections]


FoldClaim: TypeAlias = "Callable[[PoolConnectionProxy[Record], Claim], Awaitable[AdvanceResult]]"


class UnreadableRange(Exception):
    """The range contains an event that a claimed read model has to read and cannot. The transaction is rolled back."""


class CheckpointMoved(Exception):
    """Another worker has advanced this read model. The transaction is rolled back; retry from the new checkpoint."""


async def shards_behind(pool: Pool[Record]) -> list[Shard]:
    """The shards with events that some read model has not folded."""
    return [Shard(row[0]) for row in await pool.fetch(READ_SHARDS_BEHIND)]


async def advance(
    pool: Pool[Record], projections: Sequence[Projection], shard: Shard, *, batch: int = BATCH_EVENTS
) -> AdvanceResult | None:
    """Advance the shard's read models by one range, in one transaction. None when there is nothing to claim.

    The read models furthest behind advance first, up to the checkpoint of the next ones; once at one position, all
    advance together. A blocked read model (blocked.py) stays at its checkpoint and delays no other. An event that a
    read model cannot fold is parked (poison.py).
    """
    try:
        return await _advance(pool, projections, shard, batch, _fold_together)
    except UnreadableRange:
        return await _advance(pool, projections, shard, batch, _fold_separately)
    except POISON_ERRORS:
        return await _advance(pool, projections, shard, min(batch, SEPARATE_BATCH_EVENTS), _fold_separately)


async def _advance(
    pool: Pool[Record], projections: Sequence[Projection], shard: Shard, batch: int, fold_claim: FoldClaim
) -> AdvanceResult | None:
    async with pool.acquire() as conn, conn.transaction():
        rows = await conn.fetch(CLAIM_SHARD, shard)
        checkpoints = {row["projection"]: row["position"] for row in rows}
        due = [each for live in projections for each in live.versions if each.name in checkpoints]
        if fold_claim is _fold_separately or not _at_one_position(projections, checkpoints):
            due = await _unblocked(conn, shard, due, checkpoints)
        if not due:
            return None
        return await fold_claim(conn, _claim(shard, due, checkpoints, rows[0]["head"], batch))


def _at_one_position(projections: Sequence[Projection], checkpoints: Mapping[str, int]) -> bool:
    """Whether every read model is behind the head, and all are at the same position."""
    advanced = [each.name for each in projections if each.view is None]
    return len(set(checkpoints.values())) == 1 and all(name in checkpoints for name in advanced)


async def _unblocked(
    conn: PoolConnectionProxy[Record], shard: Shard, due: Sequence[Projection], checkpoints: Mapping[str, int]
) -> list[Projection]:
    """The read models that can advance. Only needed when one may be blocked, or a range could not be folded."""
    following = sorted({position + 1 for position in checkpoints.values()})
    types = {row["position"]: row["type"] for row in await conn.fetch(READ_TYPES, shard, following)}
    readable = [each for each in due if not is_blocked_by(each, types.get(checkpoints[each.name] + 1))]
    poisoned = await blocked_by_poison(conn, shard)
    return [each for each in readable if each.name not in poisoned]


def _claim(
    shard: Shard, due: Sequence[Projection], checkpoints: Mapping[str, int], head: int, batch: int
) -> Claim:
    start = min(checkpoints[each.name] for each in due)
    furthest_behind = [each for each in due if checkpoints[each.name] == start]
    ahead = [checkpoints[each.name] for each in due if each not in furthest_behind]
    return Claim(shard, furthest_behind, start, min([*ahead, head, start + batch]), head)


async def _fold_together(conn: PoolConnectionProxy[Record], claim: Claim) -> AdvanceResult:
    """Fold the range into all read models in one statement."""
    readers = [each for each in claim.projections if each.reads(claim.shard)]
    rows = await conn.fetch(fold_statement(readers), claim.shard, claim.start, claim.upto, claim.names)
    if rows[0]["moved"] != len(claim.projections):
        raise CheckpointMoved
    unknown = [row["type"] for row in rows if row["type"] is not None]
    if any(is_blocked_by(projection, each) for projection in claim.projections for each in unknown):
        raise UnreadableRange
    if unknown:
        await record_unknown_types(conn, claim.projections, claim.shard, claim.start, claim.upto)
    return AdvanceResult(claim.shard, claim.upto, claim.upto - claim.start, claim.upto == claim.head)


async def _fold_separately(conn: PoolConnectionProxy[Record], claim: Claim) -> AdvanceResult:
    """Fold the range into each read model separately: up to the first event one of them cannot read, past poison."""
    stop = await first_unreadable(conn, claim.projections, claim.shard, claim.start, claim.upto)
    upto = claim.upto if stop is None else stop - 1
    parked: list[ParkedEvent] = []
    for projection in claim.projections:
        parked += await fold_past_poison(conn, projection, claim.shard, claim.start, upto)
    await record_unknown_types(conn, claim.projections, claim.shard, claim.start, upto)
    moved = await conn.fetchval(MOVE_CHECKPOINTS, claim.shard, claim.start, upto, claim.names)
    if moved != len(claim.projections):
        raise CheckpointMoved
    return AdvanceResult(claim.shard, upto, upto - claim.start, upto == claim.head, tuple(parked))


def fold_statement(projections: Sequence[Projection]) -> str:
    """Fold the range of shard $1 after $2 and up to $3 into these tables, and move the checkpoints of the read models $4.

    Each row has the number of checkpoints that were at $2 and moved. There is one row for each event type in the
    range that none of these read models knows; where there is none, one row has the type NULL.
    """
    upserts = "".join(f"{projection.name} AS ({projection.upsert}), " for projection in projections)
    statement = f"""
        WITH {RANGE}, {upserts}moved AS (
            UPDATE checkpoints SET position = $3 WHERE shard = $1 AND position = $2 AND projection = ANY($4)
            RETURNING projection),
        unknown AS (SELECT DISTINCT type FROM events WHERE type NOT IN ({quoted(known_families(projections))}))
        SELECT moved, type FROM (SELECT count(*) AS moved FROM moved) AS m LEFT JOIN unknown ON true"""
    return with_upcasts(statement)
