"""Flips as the API shows them: newest first, with the name of the tool, the reviewer of the take, and the id of the event."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from asyncpg import Pool, Record
from msgspec import Struct

from domain.editorial.adoptions import PRESETS_BY_DIGEST
from domain.rulebooks.rulebook import Label
from domain.shared.log import Position
from domain.timeline.flips import Flip, LogOrder
from eventstore.as_of_positions import READ_RECORDED_AT, NoSuchEvent
from projections.engine.snapshot import Freshness
from projections.engine.upcasting import with_upcasts
from projections.flips.store import ConnectionOrPool, flip_of, read_frontier

READ_NEWEST = """
SELECT tool, before, after, recorded_at, cause_shard, cause_position, event, rulebook FROM flips
 WHERE shard = 0 AND (recorded_at, cause_shard, cause_position) > ($1, $2, $3)
   AND (recorded_at, cause_shard, cause_position, tool) < ($4, $5, $6, $7)
 ORDER BY recorded_at DESC, cause_shard DESC, cause_position DESC, tool DESC LIMIT $8
"""
READ_NEWEST_OF_TOOL = """
SELECT tool, before, after, recorded_at, cause_shard, cause_position, event, rulebook FROM flips
 WHERE shard = 0 AND tool = $8 AND (recorded_at, cause_shard, cause_position) > ($1, $2, $3)
   AND (recorded_at, cause_shard, cause_position) < ($4, $5, $6)
 ORDER BY recorded_at DESC, cause_shard DESC, cause_position DESC LIMIT $7
"""
# The newest $5 flips of each tool $1 after the event ($2, $3, $4).
READ_SINCE = """
SELECT f.* FROM unnest($1::integer[], $2::timestamptz[], $3::smallint[], $4::bigint[]) AS t (tool, recorded_at, shard, position)
 CROSS JOIN LATERAL (
       SELECT tool, before, after, recorded_at, cause_shard, cause_position, event, rulebook FROM flips
        WHERE shard = 0 AND tool = t.tool
          AND (recorded_at, cause_shard, cause_position) > (t.recorded_at, t.shard, t.position)
        ORDER BY recorded_at DESC, cause_shard DESC, cause_position DESC LIMIT $5) AS f
"""
READ_LABELS_AT = """
SELECT f.tool, f.after FROM unnest($1::integer[], $2::timestamptz[], $3::smallint[], $4::bigint[]) AS t (tool, recorded_at, shard, position)
 CROSS JOIN LATERAL (
       SELECT tool, after FROM flips
        WHERE shard = 0 AND tool = t.tool
          AND (recorded_at, cause_shard, cause_position) <= (t.recorded_at, t.shard, t.position)
        ORDER BY recorded_at DESC, cause_shard DESC, cause_position DESC LIMIT 1) AS f
"""
READ_DETAILS = with_upcasts("""
SELECT s.slug, coalesce(c.details->>'name', s.slug), e.id, CASE WHEN e.shard = 0 THEN e.data->>'reviewer' END, r.name
  FROM unnest($1::integer[], $2::smallint[], $3::bigint[], $4::text[]) WITH ORDINALITY
       AS f (tool, shard, position, rulebook, ord)
  JOIN slugs AS s ON s.tool = f.tool
  LEFT JOIN catalogue AS c ON c.shard = 0 AND c.tool = f.tool
  LEFT JOIN rulebooks AS r ON r.shard = 0 AND r.digest = f.rulebook
  JOIN public.events AS e ON e.shard = f.shard AND e.position = f.position
 ORDER BY f.ord
""")


class FlipDetails(Struct, frozen=True):
    """``id`` is that of the event, ``reviewer`` None unless the event is a take, ``rulebook`` the name of the one in force."""

    flip: Flip
    slug: str
    name: str
    id: UUID
    reviewer: str | None
    rulebook: str

    @property
    def sentence(self) -> str:
        """The cause in words."""
        match self.flip.event:
            case "TakePublished":
                return f"The reviewer {self.reviewer} published a take."
            case "TakeWithdrawn":
                return f"The reviewer {self.reviewer} withdrew a take."
            case "RulebookAdopted":
                return f"The rulebook {self.rulebook} was adopted."
            case "VoteRetracted":
                return "A vote was taken back."
            case _:
                return "A vote was cast."


@asynccontextmanager
async def flips_at_one_moment(pool: Pool[Record]) -> AsyncIterator[tuple[ConnectionOrPool, Freshness]]:
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        yield conn, await read_frontier(conn)


async def newest_flips(
    conn: ConnectionOrPool, since: LogOrder, before: tuple[LogOrder, int], limit: int, tool: int | None = None
) -> list[FlipDetails]:
    """Those after ``since`` and before the pair (event, tool), newest first. Flips of one event are ordered by tool."""
    end, end_tool = before
    span = (since.recorded_at, since.shard, since.number, end.recorded_at, end.shard, end.number)
    if tool is None:
        rows = await conn.fetch(READ_NEWEST, *span, end_tool, limit)
    else:
        rows = await conn.fetch(READ_NEWEST_OF_TOOL, *span, limit, tool)
    return await with_details(conn, [flip_of(row) for row in rows])


async def flips_since(
    conn: ConnectionOrPool, since: dict[int, LogOrder], tool_limit: int
) -> dict[int, list[FlipDetails]]:
    """By tool, at most ``tool_limit`` each, newest first. Tools without flips since then are left out."""
    rows = await conn.fetch(READ_SINCE, *_columns(since), tool_limit)
    found: dict[int, list[FlipDetails]] = {}
    for each in await with_details(conn, [flip_of(row) for row in rows]):
        found.setdefault(each.flip.tool, []).append(each)
    return found


async def labels_at(conn: ConnectionOrPool, orders: dict[int, LogOrder]) -> dict[int, Label]:
    """The label of each tool at an event. Tools that had not flipped by then are left out."""
    return {row[0]: row[1] for row in await conn.fetch(READ_LABELS_AT, *_columns(orders))}


async def with_details(conn: ConnectionOrPool, flips: Sequence[Flip]) -> list[FlipDetails]:
    """In the same order."""
    columns = [(flip.tool, flip.order.shard, flip.order.number, flip.rulebook) for flip in flips]
    rows = await conn.fetch(READ_DETAILS, *(zip(*columns, strict=True) if columns else ([],) * 4))
    return [_details(flip, row) for flip, row in zip(flips, rows, strict=True)]


def _details(flip: Flip, row: Record) -> FlipDetails:
    slug, name, event, reviewer, written_name = row
    preset = PRESETS_BY_DIGEST.get(flip.rulebook)
    return FlipDetails(
        flip, slug, name, event, reviewer, preset.name if preset else written_name or flip.rulebook
    )


async def order_of(pool: Pool[Record], position: Position) -> LogOrder:
    """Raises NoSuchEvent."""
    recorded_at = await pool.fetchval(READ_RECORDED_AT, position.shard, position.number)
    if recorded_at is None:
        raise NoSuchEvent(position=position)
    return LogOrder(recorded_at, position.shard, position.number)


def _columns(orders: dict[int, LogOrder]) -> tuple[list[object], ...]:
    rows = [(tool, each.recorded_at, each.shard, each.number) for tool, each in orders.items()]
    return tuple(map(list, zip(*rows, strict=True))) if rows else ([], [], [], [])
