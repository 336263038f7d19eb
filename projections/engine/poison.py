"""Poison: a range that a read model cannot fold is halved until single events are left, and those are parked."""

from __future__ import annotations

import asyncpg
from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

from domain.shared.log import Position, Shard
from projections.engine.parked import ParkedEvent, park
from projections.engine.projection import Projection

# Errors that the content of an event causes. Any other is the database's or the definition's.
POISON_ERRORS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)


async def fold_past_poison(
    conn: PoolConnectionProxy[Record], projection: Projection, shard: Shard, after: int, upto: int
) -> list[ParkedEvent]:
    """Fold the events after ``after`` and up to ``upto``, and park those that cannot be folded. Returns the parked.

    It runs in the transaction in which the caller moves the checkpoint: folded, parked and moved, or none of it.
    """
    if not projection.reads(shard):
        return []
    try:
        async with conn.transaction():
            await conn.execute(projection.fold_range, shard, after, upto)
            return []
    except POISON_ERRORS as error:
        if upto - after == 1:
            return [await park(conn, projection.name, Position(shard, upto), error)]
    middle = (after + upto) // 2
    return [
        *await fold_past_poison(conn, projection, shard, after, middle),
        *await fold_past_poison(conn, projection, shard, middle, upto),
    ]
