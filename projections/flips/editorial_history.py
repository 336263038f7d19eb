"""Editorial history: the take changes and the adoptions in a range of the log, on which verdicts depend."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TypeAlias

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.editorial.adoptions import PRESETS_BY_DIGEST
from domain.events import editorial
from domain.events.editorial import (
    EditorialEvent,
    RulebookAdopted,
    RulebookWritten,
    TakePublished,
    TakeWithdrawn,
    ToolListed,
    ToolRetired,
)
from domain.events.upcasts import family, stored_names
from domain.rulebooks.presets import DEFAULT
from domain.rulebooks.rulebook import Rulebook
from domain.shared.errors import UndecodableEvent
from domain.shared.log import EDITORIAL, Position
from domain.timeline.changes import RulebookChange, TakeChange
from domain.timeline.flips import LogOrder
from domain.verdicts.verdict import Judgement

ConnectionOrPool: TypeAlias = "PoolConnectionProxy[Record] | Pool[Record]"

CHANGES = ("TakePublished", "TakeWithdrawn", "RulebookAdopted")
CHANGES_AND_TOOLS = (*CHANGES, "ToolListed", "ToolRetired")

READ_EVENTS = """
SELECT recorded_at, position, tool, type, data FROM events
 WHERE shard = $1 AND shard = 0 AND position > $2 AND position <= $3 AND split_part(type, '.', 1) = ANY($4)
 ORDER BY position
"""
READ_ADOPTIONS = """
SELECT type, data FROM events
 WHERE shard = $1 AND shard = 0 AND tool IS NULL AND position <= $2 AND type = ANY($3)
 ORDER BY position DESC
"""
FIND_RULEBOOK = """
SELECT type, data FROM events
 WHERE shard = $1 AND shard = 0 AND tool IS NULL AND type = ANY($2) AND data->>'digest' = $3
 ORDER BY position
"""


class UnreadableEvent(Struct, frozen=True):
    position: Position
    error: UndecodableEvent


class EditorialHistory(Struct, frozen=True):
    """In the order of the log; takes by tool. ``tools`` are listed and not retired at the end of the range.

    Unreadable events are left out of the rest. The flip engine parks them; a trial raises the first.
    """

    tools: set[int]
    takes: dict[int, list[TakeChange]]
    adoptions: list[RulebookChange]
    unreadable: list[UnreadableEvent]

    def raise_unreadable(self) -> None:
        """Raises UndecodableEvent if there are unreadable events."""
        for each in self.unreadable:
            raise each.error


async def read_editorial_history(
    conn: ConnectionOrPool, after: int, upto: int, families: Sequence[str] = CHANGES
) -> EditorialHistory:
    """The events after a position and up to another. ``tools`` need CHANGES_AND_TOOLS, and a range from the start."""
    history = EditorialHistory(set(), defaultdict(list), [], [])
    rulebooks = dict(PRESETS_BY_DIGEST)
    rows = await conn.fetch(READ_EVENTS, EDITORIAL, after, upto, families)
    for recorded_at, number, tool, stored, data in rows:
        order = LogOrder(recorded_at, EDITORIAL, number)
        try:
            event = editorial.decode(data or b"null", stored)
            if isinstance(event, RulebookAdopted) and event.digest not in rulebooks:
                rulebooks[event.digest] = await _find_rulebook(conn, event.digest)
            _add(history, order, family(stored), tool, event, rulebooks)
        except UndecodableEvent as error:
            history.unreadable.append(UnreadableEvent(order.position, error))
    return history


def _add(
    history: EditorialHistory,
    order: LogOrder,
    kind: str,
    tool: int,
    event: EditorialEvent,
    rulebooks: dict[str, Rulebook],
) -> None:
    match event:
        case TakePublished(reviewer, _, score, choice):
            judgement = Judgement(reviewer, score, choice)
            history.takes[tool].append(TakeChange(order, kind, reviewer, judgement))
        case TakeWithdrawn(reviewer):
            history.takes[tool].append(TakeChange(order, kind, reviewer, None))
        case RulebookAdopted(digest):
            history.adoptions.append(RulebookChange(order, kind, rulebooks[digest]))
        case ToolListed():
            history.tools.add(tool)
        case ToolRetired():
            history.tools.discard(tool)
        case _:
            raise UndecodableEvent(data=type(event).__name__, error=f"it is stored as {kind}")


async def rulebook_at(conn: ConnectionOrPool, position: int) -> Rulebook:
    """The rulebook in force after this position of the editorial shard. Unreadable adoptions are skipped."""
    for stored, data in await conn.fetch(READ_ADOPTIONS, EDITORIAL, position, _stored("RulebookAdopted")):
        try:
            event = editorial.decode(data, stored)
            assert isinstance(event, RulebookAdopted)
            return PRESETS_BY_DIGEST.get(event.digest) or await _find_rulebook(conn, event.digest)
        except UndecodableEvent:
            continue
    return DEFAULT


async def _find_rulebook(conn: ConnectionOrPool, digest: str) -> Rulebook:
    """Raises UndecodableEvent."""
    for stored, data in await conn.fetch(FIND_RULEBOOK, EDITORIAL, _stored("RulebookWritten"), digest):
        event = editorial.decode(data, stored)
        if isinstance(event, RulebookWritten):
            return event.rulebook
    raise UndecodableEvent(data=digest, error="no rulebook of this digest was written")


def _stored(name: str) -> list[str]:
    return stored_names(name, editorial.UPCASTERS)
