"""Blocked read models: they stay at their checkpoint until this software is upgraded or their fold is fixed.

A read model is blocked by a version when its next event has a type it reads, but in a version newer than this software
reads. It is blocked by poison when it has parked PARKED_EVENTS_MAX events of a shard: then its fold must be at fault.
"""

from __future__ import annotations

from collections.abc import Sequence

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.events.types import event_types, readable_types
from domain.events.upcasts import family
from domain.shared.log import Position, Shard
from domain.shared.plurals import count_of
from projections.engine.projection import Projection

READ_CHECKPOINT = "SELECT position FROM checkpoints WHERE shard = $1 AND projection = $2"
# The event after each checkpoint, if its type is none of $1.
READ_UNREADABLE_NEXT = """
SELECT c.projection, c.shard, e.position, e.type
  FROM checkpoints AS c
  JOIN heads AS h ON h.shard = c.shard AND h.position > c.position
  JOIN events AS e ON e.shard = c.shard AND e.position = c.position + 1
 WHERE e.type <> ALL ($1) ORDER BY c.projection, c.shard
"""
# The first event of shard $1 after $2 and up to $3 of one of the families $5 and none of the types $4.
FIND_FIRST_UNREADABLE = """
SELECT position FROM events
 WHERE shard = $1 AND position > $2 AND position <= $3 AND type <> ALL ($4) AND split_part(type, '.', 1) = ANY ($5)
 ORDER BY position LIMIT 1
"""
READ_POISONED = """
SELECT projection, shard, max(position), count(*) FROM parked_events GROUP BY projection, shard HAVING count(*) >= $1
 ORDER BY projection, shard
"""
READ_POISONED_IN_SHARD = """
SELECT projection FROM parked_events WHERE shard = $1 GROUP BY projection HAVING count(*) >= $2
"""
RECORD_UNKNOWN_TYPES = """
INSERT INTO unread_types (shard, type, position)
SELECT shard, type, min(position) FROM events
 WHERE shard = $1 AND position > $2 AND position <= $3 AND type <> ALL ($4)
 GROUP BY shard, type ORDER BY type
ON CONFLICT (shard, type) DO NOTHING
"""
READ_UNKNOWN_TYPES = """
SELECT shard, type, position FROM unread_types WHERE type <> ALL ($1) ORDER BY type, shard
"""

# A read model with this many parked events in a shard is blocked: trying every further event would delay the others.
PARKED_EVENTS_MAX = 1_000


class BlockedByVersion(Struct, frozen=True):
    """The read model cannot read the event at ``position``; its checkpoint is just before it."""

    projection: str
    position: Position
    type: str

    def __str__(self) -> str:
        return (
            f"{self.projection} is stopped before {self.position}, an event of type {self.type}, which is newer than "
            "this software. Upgrade this process, and it continues by itself. Other read models are not affected."
        )


class BlockedByPoison(Struct, frozen=True):
    """``position`` is that of the last event it parked."""

    projection: str
    position: Position
    parked: int

    def __str__(self) -> str:
        return (
            f"{self.projection} is stopped after {self.position}, where it had parked {count_of(self.parked, 'event')}: its fold is "
            "at fault. Release a fix, then migrate or replay it. Other read models are not affected."
        )


class UnknownType(Struct, frozen=True):
    """An event type that no read model of this software knows, and its first event."""

    type: str
    position: Position

    def __str__(self) -> str:
        return f"{self.position} is the first event of type {self.type}, which no read model of this software reads"


def is_blocked_by(projection: Projection, type: str | None) -> bool:
    """Whether the projection has to read events of this type, and cannot. ``type`` is None at the head of the log."""
    return (
        type is not None
        and family(type) in projection.families
        and type not in readable_types(projection.families)
    )


def known_families(projections: Sequence[Projection]) -> list[str]:
    """Every family that these projections or this software name."""
    return list(event_types(each for projection in projections for each in projection.families))


async def blocked_by_poison(conn: PoolConnectionProxy[Record], shard: Shard) -> set[str]:
    """The names of the read models, and versions of them, that poison blocks in this shard."""
    return {row[0] for row in await conn.fetch(READ_POISONED_IN_SHARD, shard, PARKED_EVENTS_MAX)}


async def first_unreadable(
    conn: PoolConnectionProxy[Record], projections: Sequence[Projection], shard: Shard, after: int, upto: int
) -> int | None:
    """The first position after ``after`` and up to ``upto`` that one of the projections cannot read."""
    families = sorted({each for projection in projections for each in projection.families})
    found: int | None = await conn.fetchval(
        FIND_FIRST_UNREADABLE, shard, after, upto, readable_types(families), families
    )
    return found


async def blocked_position(
    conn: PoolConnectionProxy[Record], live: Projection, shard: Shard, upto: int
) -> int | None:
    """The position up to ``upto`` that blocks the live version, or None. Its shadow must not pass that position either."""
    reached = int(await conn.fetchval(READ_CHECKPOINT, shard, live.name))
    if live.name in await blocked_by_poison(conn, shard):
        return reached + 1
    return await first_unreadable(conn, [live], shard, reached, upto)


async def read_blocked(
    pool: Pool[Record], projections: Sequence[Projection]
) -> list[BlockedByVersion | BlockedByPoison]:
    """The read models, and versions of them, that are blocked now."""
    known = {each.name: each for live in projections for each in live.versions}
    rows = await pool.fetch(READ_UNREADABLE_NEXT, readable_types(known_families(projections)))
    poisoned = [row for row in await pool.fetch(READ_POISONED, PARKED_EVENTS_MAX) if row[0] in known]
    return [BlockedByPoison(row[0], Position(Shard(row[1]), row[2]), row[3]) for row in poisoned] + [
        BlockedByVersion(row[0], Position(Shard(row[1]), row[2]), row[3])
        for row in rows
        if row[0] in known and is_blocked_by(known[row[0]], row[3])
    ]


async def record_unknown_types(
    conn: PoolConnectionProxy[Record], projections: Sequence[Projection], shard: Shard, after: int, upto: int
) -> None:
    """Store the types in this range that these read models skip because they do not know them."""
    await conn.execute(RECORD_UNKNOWN_TYPES, shard, after, upto, readable_types(known_families(projections)))


async def read_unknown_types(pool: Pool[Record], projections: Sequence[Projection]) -> list[UnknownType]:
    """Without newer versions of a type that a read model reads: those block it."""
    rows = await pool.fetch(READ_UNKNOWN_TYPES, readable_types(known_families(projections)))
    families = {each for projection in projections for each in projection.families}
    return [
        UnknownType(row[1], Position(Shard(row[0]), row[2])) for row in rows if family(row[1]) not in families
    ]
