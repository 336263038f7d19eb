"""Poison: a range that a read model cannot fold is halved until one event is left, and that one is parked."""

from __future__ import annotations

import asyncpg
from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

from domain.shared.log import Position, Shard
from projections.engine.parked import Parked, park
from projections.engine.projection import Projection

# What an event's content does to a fold. Anything else is the database's trouble, or the definition's.
AT_FAULT = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)


async def fold_past_poison(
    conn: PoolConnectionProxy[Record], projection: Projection, shard: Shard, after: int, upto: int
) -> list[Parked]:
    """Fold what is after ``after`` and up to ``upto``, but for events that cannot be: those are parked, and returned.

    All of it in the transaction of the caller, who also moves the checkpoint in it: a range is folded and its poison
    parked, or neither is.
    """
    if not projection.reads(shard):
        return []
    try:
        async with conn.transaction():
            await conn.execute(projection.fold_range, shard, after, upto)
            return []
    except AT_FAULT as error:
        if upto - after == 1:
            return [await park(conn, projection.name, Position(shard, upto), error)]
    middle = (after + upto) // 2
    return [
        *await fold_past_poison(conn, projection, shard, after, middle),
        *await fold_past_poison(conn, projection, shard, middle, upto),
    ]
