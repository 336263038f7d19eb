"""Flip reads: flips as they are told, newest first, with the tool's name, the reviewer whose take it was, and the event's id."""

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
from eventstore.polling import poll_until
from projections.engine.snapshot import Freshness, ReadModelBehind
from projections.engine.upcasting import with_upcasts
from projections.flips.store import Reading, flip_of, read_frontier

NEWEST = """
SELECT tool, before, after, recorded_at, cause_shard, cause_position, event, rulebook FROM flips
 WHERE shard = 0 AND (recorded_at, cause_shard, cause_position) > ($1, $2, $3)
   AND (recorded_at, cause_shard, cause_position, tool) < ($4, $5, $6, $7)
 ORDER BY recorded_at DESC, cause_shard DESC, cause_position DESC, tool DESC LIMIT $8
"""
NEWEST_OF_TOOL = """
SELECT tool, before, after, recorded_at, cause_shard, cause_position, event, rulebook FROM flips
 WHERE shard = 0 AND tool = $8 AND (recorded_at, cause_shard, cause_position) > ($1, $2, $3)
   AND (recorded_at, cause_shard, cause_position) < ($4, $5, $6)
 ORDER BY recorded_at DESC, cause_shard DESC, cause_position DESC LIMIT $7
"""
# Of each tool $1 after the place ($2, $3, $4) the newest $5; and the first of all these.
SINCE = """
SELECT f.* FROM unnest($1::integer[], $2::timestamptz[], $3::smallint[], $4::bigint[]) AS t (tool, recorded_at, shard, position)
 CROSS JOIN LATERAL (
       SELECT tool, before, after, recorded_at, cause_shard, cause_position, event, rulebook FROM flips
        WHERE shard = 0 AND tool = t.tool
          AND (recorded_at, cause_shard, cause_position) > (t.recorded_at, t.shard, t.position)
        ORDER BY recorded_at DESC, cause_shard DESC, cause_position DESC LIMIT $5) AS f
"""
LABELS_AT = """
SELECT f.tool, f.after FROM unnest($1::integer[], $2::timestamptz[], $3::smallint[], $4::bigint[]) AS t (tool, recorded_at, shard, position)
 CROSS JOIN LATERAL (
       SELECT tool, after FROM flips
        WHERE shard = 0 AND tool = t.tool
          AND (recorded_at, cause_shard, cause_position) <= (t.recorded_at, t.shard, t.position)
        ORDER BY recorded_at DESC, cause_shard DESC, cause_position DESC LIMIT 1) AS f
"""
TELL = with_upcasts("""
SELECT s.slug, coalesce(c.details->>'name', s.slug), e.id, CASE WHEN e.shard = 0 THEN e.data->>'reviewer' END, r.name
  FROM unnest($1::integer[], $2::smallint[], $3::bigint[], $4::text[]) WITH ORDINALITY
       AS f (tool, shard, position, rulebook, ord)
  JOIN slugs AS s ON s.tool = f.tool
  LEFT JOIN catalogue AS c ON c.shard = 0 AND c.tool = f.tool
  LEFT JOIN rulebooks AS r ON r.shard = 0 AND r.digest = f.rulebook
  JOIN public.events AS e ON e.shard = f.shard AND e.position = f.position
 ORDER BY f.ord
""")
REACHED = "SELECT position >= $2 FROM flips_frontier WHERE shard = $1"


class FlipDetails(Struct, frozen=True):
    """``id`` is the event's; ``reviewer`` is None where the event is no take; ``rulebook`` is the name of the one in force."""

    flip: Flip
    slug: str
    name: str
    id: UUID
    reviewer: str | None
    rulebook: str

    @property
    def sentence(self) -> str:
        """What made the verdict change."""
        match self.flip.event:
            case "TakePublished":
                return f"{self.reviewer} published a take."
            case "TakeWithdrawn":
                return f"{self.reviewer} withdrew a take."
            case "RulebookAdopted":
                return f"The rulebook {self.rulebook} was adopted."
            case "VoteRetracted":
                return "A vote was taken back."
            case _:
                return "A vote was cast."


@asynccontextmanager
async def flips_at_one_moment(pool: Pool[Record]) -> AsyncIterator[tuple[Reading, Freshness]]:
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        yield conn, await read_frontier(conn)


async def newest_flips(
    conn: Reading, since: LogOrder, before: tuple[LogOrder, int], limit: int, tool: int | None = None
) -> list[FlipDetails]:
    """After one place and before another; what is at that one only of lower tools than the one given with it."""
    place, above = before
    at = (since.recorded_at, since.shard, since.number, place.recorded_at, place.shard, place.number)
    if tool is None:
        rows = await conn.fetch(NEWEST, *at, above, limit)
    else:
        rows = await conn.fetch(NEWEST_OF_TOOL, *at, limit, tool)
    return await with_details(conn, [flip_of(row) for row in rows])


async def flips_since(conn: Reading, places: dict[int, LogOrder], most: int) -> dict[int, list[FlipDetails]]:
    """By tool, of each the newest so many after its place, newest first; tools without any are left out."""
    rows = await conn.fetch(SINCE, *_columns(places), most)
    found: dict[int, list[FlipDetails]] = {}
    for each in await with_details(conn, [flip_of(row) for row in rows]):
        found.setdefault(each.flip.tool, []).append(each)
    return found


async def labels_at(conn: Reading, places: dict[int, LogOrder]) -> dict[int, Label]:
    """The label of each tool at its place; tools that never flipped up to there are left out."""
    return {row[0]: row[1] for row in await conn.fetch(LABELS_AT, *_columns(places))}


async def with_details(conn: Reading, flips: Sequence[Flip]) -> list[FlipDetails]:
    """With what the house says of each, in the order given."""
    columns = [(flip.tool, flip.place.shard, flip.place.number, flip.rulebook) for flip in flips]
    rows = await conn.fetch(TELL, *(zip(*columns, strict=True) if columns else ([],) * 4))
    return [_told(flip, row) for flip, row in zip(flips, rows, strict=True)]


def _told(flip: Flip, row: Record) -> FlipDetails:
    slug, name, event, reviewer, written = row
    of_shiplog = PRESETS_BY_DIGEST.get(flip.rulebook)
    return FlipDetails(
        flip, slug, name, event, reviewer, of_shiplog.name if of_shiplog else written or flip.rulebook
    )


async def order_of(pool: Pool[Record], position: Position) -> LogOrder:
    """Raises NoSuchEvent."""
    recorded_at = await pool.fetchval(READ_RECORDED_AT, position.shard, position.number)
    if recorded_at is None:
        raise NoSuchEvent(position=position)
    return LogOrder(recorded_at, position.shard, position.number)


async def wait_for_flips(pool: Pool[Record], wanted: Sequence[Position], seconds: float = 2.0) -> None:
    """Return once the flips up to there are known; raise ReadModelBehind after ``seconds``."""

    async def reached() -> bool:
        return all([await pool.fetchval(REACHED, at.shard, at.number) for at in wanted])

    if not await poll_until(reached, seconds):
        raise ReadModelBehind


def _columns(places: dict[int, LogOrder]) -> tuple[list[object], ...]:
    rows = [(tool, at.recorded_at, at.shard, at.number) for tool, at in places.items()]
    return tuple(map(list, zip(*rows, strict=True))) if rows else ([], [], [], [])
