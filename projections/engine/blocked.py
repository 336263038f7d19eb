"""Stops: a read model waits before an event of a type it reads, in a version that this software does not.

Or it has parked so much of a shard that it cannot be the events that are at fault.
"""

from __future__ import annotations

from collections.abc import Sequence

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.events.types import event_types, readable_types
from domain.events.upcasts import family
from domain.shared.log import Position, Shard
from projections.engine.projection import Projection

# The event that each checkpoint is before, where it cannot be read.
CHECKPOINT = "SELECT position FROM checkpoints WHERE shard = $1 AND projection = $2"
NEXT = """
SELECT c.projection, c.shard, e.position, e.type
  FROM checkpoints AS c
  JOIN heads AS h ON h.shard = c.shard AND h.position > c.position
  JOIN events AS e ON e.shard = c.shard AND e.position = c.position + 1
 WHERE e.type <> ALL ($1) ORDER BY c.projection, c.shard
"""
# The first event of a shard, after $2 and up to $3, of one of the families $5 in no version of $4.
FIRST = """
SELECT position FROM events
 WHERE shard = $1 AND position > $2 AND position <= $3 AND type <> ALL ($4) AND split_part(type, '.', 1) = ANY ($5)
 ORDER BY position LIMIT 1
"""
HELD = """
SELECT projection, shard, max(position), count(*) FROM parked_events GROUP BY projection, shard HAVING count(*) >= $1
 ORDER BY projection, shard
"""
HELD_IN = "SELECT projection FROM parked_events WHERE shard = $1 GROUP BY projection HAVING count(*) >= $2"
MET = """
INSERT INTO unread_types (shard, type, position)
SELECT shard, type, min(position) FROM events
 WHERE shard = $1 AND position > $2 AND position <= $3 AND type <> ALL ($4)
 GROUP BY shard, type ORDER BY type
ON CONFLICT (shard, type) DO NOTHING
"""
UNREAD = "SELECT shard, type, position FROM unread_types WHERE type <> ALL ($1) ORDER BY type, shard"


# So many events of a shard a read model parks, and a range more. It would hold the others up to try all that follow.
PARKED_MAX = 1_000


class BlockedByVersion(Struct, frozen=True):
    """``position`` is the event's; the read model stands just before it."""

    projection: str
    position: Position
    type: str

    def __str__(self) -> str:
        return (
            f"{self.projection} is stopped before {self.position}, an event of type {self.type}, which is newer than "
            "this software. Upgrade this process; it goes on by itself. Other read models are not affected."
        )


class BlockedByPoison(Struct, frozen=True):
    """``position`` is the last it parked."""

    projection: str
    position: Position
    parked: int

    def __str__(self) -> str:
        return (
            f"{self.projection} is stopped after {self.position}, where it had parked {self.parked:,} events: its fold is "
            "at fault. Release a fix, then migrate or replay it. Other read models are not affected."
        )


class UnknownType(Struct, frozen=True):
    """A type that no read model of this software names, and where it was met first."""

    type: str
    position: Position

    def __str__(self) -> str:
        return f"{self.position} is the first event of type {self.type}, which no read model of this software reads"


def is_blocked_by(projection: Projection, type: str | None) -> bool:
    """Whether its next event, of this type, is one it would have to read and cannot."""
    return (
        type is not None
        and family(type) in projection.families
        and type not in readable_types(projection.families)
    )


def known_families(projections: Sequence[Projection]) -> list[str]:
    """Every family that one of these, or this software, has a name for."""
    return list(event_types(each for projection in projections for each in projection.families))


async def blocked_by_poison(conn: PoolConnectionProxy[Record], shard: Shard) -> set[str]:
    """Those that go no further in this shard, as they are."""
    return {row[0] for row in await conn.fetch(HELD_IN, shard, PARKED_MAX)}


async def first_unreadable(
    conn: PoolConnectionProxy[Record], projections: Sequence[Projection], shard: Shard, after: int, upto: int
) -> int | None:
    """The first position in a range that one of these cannot read."""
    families = sorted({each for projection in projections for each in projection.families})
    found: int | None = await conn.fetchval(FIRST, shard, after, upto, readable_types(families), families)
    return found


async def blocked_position(
    conn: PoolConnectionProxy[Record], live: Projection, shard: Shard, upto: int
) -> int | None:
    """What the live version has not reached yet and will not: the one beside must not go past it either."""
    reached = int(await conn.fetchval(CHECKPOINT, shard, live.name))
    if live.name in await blocked_by_poison(conn, shard):
        return reached + 1
    return await first_unreadable(conn, [live], shard, reached, upto)


async def read_blocked(
    pool: Pool[Record], projections: Sequence[Projection]
) -> list[BlockedByVersion | BlockedByPoison]:
    """Those of these read models, and of their versions, that are stopped now, as far as this software can tell."""
    known = {each.name: each for live in projections for each in (live, live.shadow, live.previous)}
    rows = await pool.fetch(NEXT, readable_types(known_families(projections)))
    too_many = [row for row in await pool.fetch(HELD, PARKED_MAX) if row[0] in known]
    return [BlockedByPoison(row[0], Position(Shard(row[1]), row[2]), row[3]) for row in too_many] + [
        BlockedByVersion(row[0], Position(Shard(row[1]), row[2]), row[3])
        for row in rows
        if row[0] in known and is_blocked_by(known[row[0]], row[3])
    ]


async def record_unknown_types(
    conn: PoolConnectionProxy[Record], projections: Sequence[Projection], shard: Shard, after: int, upto: int
) -> None:
    """Keep in mind the types in this range that these read models go past."""
    await conn.execute(MET, shard, after, upto, readable_types(known_families(projections)))


async def read_unknown_types(pool: Pool[Record], projections: Sequence[Projection]) -> list[UnknownType]:
    """A newer version of what a read model names stops that one, and is not told here."""
    rows = await pool.fetch(UNREAD, readable_types(known_families(projections)))
    families = {each for projection in projections for each in projection.families}
    return [
        UnknownType(row[1], Position(Shard(row[0]), row[2])) for row in rows if family(row[1]) not in families
    ]
