"""Editorial decisions: read the history, decide and append, all under the lock on the editorial shard's head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

import msgspec
from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.events import editorial
from domain.events.editorial import EditorialEvent
from domain.shared.log import EDITORIAL, Event, Position, RecordedEvent
from eventstore.ids import mint

# The time is Postgres's, as for votes, because events are ordered by time across shards.
LOCK_HEAD = """
SELECT position, greatest(recorded_at, coalesce($2, clock_timestamp())) AS recorded_at
  FROM heads WHERE shard = $1 FOR NO KEY UPDATE
"""
MOVE_HEAD = "UPDATE heads SET position = $2, recorded_at = $3 WHERE shard = $1"
FIND_TOOL = "SELECT tool FROM slugs WHERE slug = $1"
INSERT_SLUG = "INSERT INTO slugs (slug, tool) VALUES ($1, $2)"
READ_TOOL_HISTORY = """
SELECT data, type FROM events
 WHERE shard = $1 AND shard = 0 AND tool = $2
 ORDER BY position
"""
READ_PANEL_HISTORY = """
SELECT data, type FROM events
 WHERE shard = $1 AND shard = 0 AND tool IS NULL AND split_part(type, '.', 1) IN ('ReviewerSeated', 'ReviewerRetired')
 ORDER BY position
"""
READ_EDITORIAL_HISTORY = """
SELECT data, type FROM events
 WHERE shard = $1 AND shard = 0 AND tool IS NULL
 ORDER BY position
"""
APPEND_EVENT = """
INSERT INTO events (shard, position, recorded_at, type, tool, actor, choice, replaced, id, origin, data)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""

Connection: TypeAlias = "PoolConnectionProxy[Record]"
Decide = Callable[[Sequence[EditorialEvent]], Sequence[EditorialEvent]]


class Author(Struct, frozen=True):
    """The pseudonym of the person who decided, and the source of the request, such as an API key."""

    actor: UUID
    source: str


class EditorialDecision(Struct, frozen=True):
    """The history before a decision, the events decided, and those events as recorded."""

    before: Sequence[EditorialEvent]
    events: Sequence[EditorialEvent]
    recorded: Sequence[RecordedEvent]


async def decide_tool(
    conn: Connection, slug: str, decide: Decide, author: Author, at: datetime | None = None
) -> EditorialDecision:
    """Decide on one tool. An unknown slug has an empty history; its first event gives the tool its number.

    ``at`` is the time of events that belong to the past; no event gets a time before the one before it.
    ``decide`` gets the events of reviewers, who publish takes, and then those of the tool.
    """
    async with conn.transaction():
        head = await _lock(conn, at)
        tool = await conn.fetchval(FIND_TOOL, slug)
        history = await conn.fetch(READ_TOOL_HISTORY, EDITORIAL, tool) if tool is not None else []
        before = _decoded(history)
        events = decide([*await read_panel_history(conn), *before])
        if tool is None and events:
            tool = head.position + 1
            await conn.execute(INSERT_SLUG, slug, tool)
        return EditorialDecision(before, events, await _append(conn, head, tool, events, author))


async def decide_editorial(
    conn: Connection, decide: Decide, author: Author, at: datetime | None = None
) -> EditorialDecision:
    """Decide on panel seats, rulebooks and replays, whose events belong to no tool. ``at`` is as for a tool."""
    async with conn.transaction():
        head = await _lock(conn, at)
        before = _decoded(await conn.fetch(READ_EDITORIAL_HISTORY, EDITORIAL))
        events = decide(before)
        return EditorialDecision(before, events, await _append(conn, head, None, events, author))


async def read_panel_history(conn: Connection | Pool[Record]) -> list[EditorialEvent]:
    """All events of reviewers, oldest first."""
    return _decoded(await conn.fetch(READ_PANEL_HISTORY, EDITORIAL))


def _decoded(rows: Sequence[Record]) -> list[EditorialEvent]:
    return [editorial.decode(row[0], row[1]) for row in rows]


class Head(Struct, frozen=True):
    position: int
    recorded_at: datetime


async def _lock(conn: Connection, at: datetime | None) -> Head:
    (row,) = await conn.fetch(LOCK_HEAD, EDITORIAL, at)
    return Head(*row)


async def _append(
    conn: Connection, head: Head, tool: int | None, events: Sequence[EditorialEvent], author: Author
) -> list[RecordedEvent]:
    recorded = [
        RecordedEvent(
            Position(EDITORIAL, head.position + n), head.recorded_at, _envelope(event, tool, author)
        )
        for n, event in enumerate(events, 1)
    ]
    if recorded:
        await conn.executemany(APPEND_EVENT, [_row(each) for each in recorded])
        await conn.execute(MOVE_HEAD, EDITORIAL, recorded[-1].position.number, head.recorded_at)
    return recorded


def _envelope(event: EditorialEvent, tool: int | None, author: Author) -> Event:
    return Event(
        type=editorial.type_of(event),
        actor=author.actor,
        id=mint(),
        source=author.source,
        tool=tool,
        choice=getattr(event, "choice", None),
        replaced=getattr(event, "replaced", None),
        data=editorial.encode(event),
    )


def _row(recorded: RecordedEvent) -> tuple[object, ...]:
    event = msgspec.structs.asdict(recorded.event)
    columns = ("type", "tool", "actor", "choice", "replaced", "id", "source", "data")
    return (*msgspec.structs.astuple(recorded.position), recorded.recorded_at, *(event[c] for c in columns))
