"""House changes: what the house did to courses in a range, takes and adoptions; and which rulebook was in force there."""

from __future__ import annotations

from collections.abc import Sequence

from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.editorial.adoptions import PRESETS_BY_DIGEST
from domain.events import editorial
from domain.events.editorial import RulebookAdopted, RulebookWritten, TakePublished, TakeWithdrawn
from domain.events.upcasts import family, stored_names
from domain.rulebooks.presets import DEFAULT
from domain.rulebooks.rulebook import Rulebook
from domain.shared.errors import UndecodableEvent
from domain.shared.log import EDITORIAL, Position
from domain.timeline.flips import LogOrder
from domain.timeline.timeline import RulebookChange, TakeChange
from domain.verdicts.verdict import Judgement

CHANGES = """
SELECT recorded_at, position, tool, type, data FROM events
 WHERE shard = $1 AND shard = 0 AND position > $2 AND position <= $3 AND type = ANY($4)
 ORDER BY position
"""
ADOPTIONS = """
SELECT type, data FROM events
 WHERE shard = $1 AND shard = 0 AND tool IS NULL AND position <= $2 AND type = ANY($3)
 ORDER BY position DESC
"""
WRITTEN = """
SELECT type, data FROM events
 WHERE shard = $1 AND shard = 0 AND tool IS NULL AND type = ANY($2) AND data->>'digest' = $3
 ORDER BY position
"""


class ToolTakeChange(Struct, frozen=True):
    tool: int
    change: TakeChange


class UnreadableEvent(Struct, frozen=True):
    """An event that is none, and why."""

    position: Position
    error: str


class EditorialChanges(Struct, frozen=True):
    """In order. What could not be made out is left out of the others."""

    takes: list[ToolTakeChange]
    adoptions: list[RulebookChange]
    unread: list[UnreadableEvent]

    def takes_by_tool(self) -> dict[int, list[TakeChange]]:
        found: dict[int, list[TakeChange]] = {}
        for take in self.takes:
            found.setdefault(take.tool, []).append(take.change)
        return found


async def read_changes(conn: PoolConnectionProxy[Record], after: int, upto: int) -> EditorialChanges:
    names = _stored("TakePublished", "TakeWithdrawn", "RulebookAdopted")
    found = EditorialChanges([], [], [])
    for recorded_at, number, tool, kind, data in await conn.fetch(CHANGES, EDITORIAL, after, upto, names):
        place = LogOrder(recorded_at, EDITORIAL, number)
        try:
            change = await _change(conn, place, family(kind), editorial.decode(data or b"null", kind))
        except UndecodableEvent as error:
            found.unread.append(UnreadableEvent(place.position, str(error)))
            continue
        if isinstance(change, RulebookChange):
            found.adoptions.append(change)
        else:
            found.takes.append(ToolTakeChange(tool, change))
    return found


async def rulebook_at(conn: PoolConnectionProxy[Record], position: int) -> Rulebook:
    """In force after this position of the house."""
    for kind, data in await conn.fetch(ADOPTIONS, EDITORIAL, position, _stored("RulebookAdopted")):
        try:
            event = editorial.decode(data, kind)
            assert isinstance(event, RulebookAdopted)
            return await _rulebook(conn, event.digest)
        except UndecodableEvent:
            continue
    return DEFAULT


async def _change(
    conn: PoolConnectionProxy[Record], place: LogOrder, kind: str, event: editorial.EditorialEvent
) -> TakeChange | RulebookChange:
    match event:
        case TakePublished() | TakeWithdrawn():
            return take_change(place, kind, event)
        case RulebookAdopted(digest=digest):
            return RulebookChange(place, kind, await _rulebook(conn, digest))
        case _:
            raise UndecodableEvent(data=type(event).__name__, error=f"it is stored as {kind}")


def take_change(place: LogOrder, kind: str, event: TakePublished | TakeWithdrawn) -> TakeChange:
    judgement = (
        Judgement(event.reviewer, event.score, event.choice) if isinstance(event, TakePublished) else None
    )
    return TakeChange(place, kind, event.reviewer, judgement)


async def _rulebook(conn: PoolConnectionProxy[Record], digest: str) -> Rulebook:
    if digest in PRESETS_BY_DIGEST:
        return PRESETS_BY_DIGEST[digest]
    for kind, data in await conn.fetch(WRITTEN, EDITORIAL, _stored("RulebookWritten"), digest):
        event = editorial.decode(data, kind)
        if isinstance(event, RulebookWritten):
            return event.rulebook
    raise UndecodableEvent(data=digest, error="no rulebook of this digest was written")


def _stored(*families: str) -> Sequence[str]:
    return [name for each in families for name in stored_names(each, editorial.UPCASTERS)]
