"""Flips: verdicts that changed, newest first, each with the event that caused it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from asyncpg import Pool, Record
from litestar import Response, get
from litestar.params import QueryParameter
from msgspec import Meta, Struct

from domain.rulebooks.rulebook import Label
from domain.shared.log import Position, Shard
from domain.timeline.flips import Place
from projections.engine.snapshot import Freshness
from projections.flips.reads import Told, flips_at_one_moment, newest_flips, place_of, reach_flips
from projections.flips.store import AFTER_ALL, BEFORE_ALL
from services.api.http.app_state import AnyRequest, parts
from services.api.http.auth import open_to_all
from services.api.http.consistency import LONGEST_MOMENT, MinPosition, headers_of, moment_in, wanted_in
from services.api.http.pagination import SLUG_PATTERN, Items, next_link, read_cursor, write_cursor
from services.api.http.problems import Rejected, may_answer
from services.api.site.rendering import Page, render_page

_ON_PAGE = 100
_ANY_TOOL = 2**31 - 1
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)

OfTool = Annotated[
    str | None,
    QueryParameter(
        description="Only of this tool, by its slug.", pattern=SLUG_PATTERN, max_length=100, required=False
    ),
]


class Cause(Struct, frozen=True):
    """``reviewer`` is named where the event is a take, ``rulebook`` where it is an adoption; voters never are."""

    type: str
    reviewer: str | None
    rulebook: str | None


class FlipShown(Struct, frozen=True):
    """``rulebook`` is the one in force from this position on."""

    slug: str
    name: str
    before: Label
    after: Label
    at: datetime
    position: str
    event: Cause
    rulebook: str


class After(Struct, frozen=True, array_like=True):
    """The flip that the page before ended with; its time since 1970."""

    microseconds: Annotated[int, Meta(ge=0, le=10**17)]
    shard: Annotated[int, Meta(ge=0, le=2**15 - 1)]
    number: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    tool: Annotated[int, Meta(ge=0, le=_ANY_TOOL)]


@get("/v1/verdicts/flips", guards=[open_to_all], responses=may_answer(404))
async def list_flips(
    request: AnyRequest,
    since: Annotated[
        str | None,
        QueryParameter(
            description="Only after this moment: a time (2026-03-01T00:00:00Z), or the position of an event (3.1842).",
            max_length=LONGEST_MOMENT,
            required=False,
        ),
    ] = None,
    tool: OfTool = None,
    cursor: Annotated[str | None, QueryParameter(max_length=400, required=False)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 20,
    min_position: MinPosition = None,
) -> Response[Items[FlipShown]]:
    """Verdicts that changed, newest first, in the log's own order; more under ``Link: rel=next``."""
    pool = parts(request).pool
    if min_position is not None:
        await reach_flips(pool, wanted_in(min_position))
    after = await _place(pool, since) if since else BEFORE_ALL
    told, freshness = await read_newest(request, limit + 1, tool, after, _before(cursor))
    more = _cursor(told[limit - 1]) if len(told) > limit else None
    headers = headers_of(freshness) | ({"Link": next_link(request, more)} if more else {})
    return Response(Items([show(each) for each in told[:limit]], more), headers=headers)


@get("/flips", guards=[open_to_all], include_in_schema=False)
async def flips_page(request: AnyRequest) -> Page:
    told, freshness = await read_newest(request, _ON_PAGE)
    return render_page("flips.html", freshness, flips=told)


async def read_newest(
    request: AnyRequest,
    limit: int,
    slug: str | None = None,
    since: Place = BEFORE_ALL,
    before: tuple[Place, int] = (AFTER_ALL, _ANY_TOOL),
) -> tuple[list[Told], Freshness]:
    """Raises Unknown for a slug that names no tool."""
    tool = None if slug is None else (await parts(request).names.find(slug)).tool
    async with flips_at_one_moment(parts(request).pool) as (conn, freshness):
        return await newest_flips(conn, since, before, limit, tool), freshness


def show(told: Told) -> FlipShown:
    flip = told.flip
    adopted = flip.rulebook if flip.event == "RulebookAdopted" else None
    return FlipShown(
        told.slug,
        told.name,
        flip.before,
        flip.after,
        flip.place.recorded_at,
        str(flip.place.position),
        Cause(flip.event, told.reviewer, adopted),
        flip.rulebook,
    )


async def _place(pool: Pool[Record], since: str) -> Place:
    match moment_in(since, "since"):
        case datetime() as time:
            return Place(time, AFTER_ALL.shard, AFTER_ALL.number)
        case Position() as position:
            return await place_of(pool, position)
        case _:
            raise Rejected(400, "invalid", "since: write a time, or the position of one event.")


def _before(cursor: str | None) -> tuple[Place, int]:
    if cursor is None:
        return AFTER_ALL, _ANY_TOOL
    after = read_cursor(cursor, After)
    return Place(_EPOCH + after.microseconds * _MICROSECOND, Shard(after.shard), after.number), after.tool


def _cursor(told: Told) -> str:
    at = told.flip.place
    return write_cursor(((at.recorded_at - _EPOCH) // _MICROSECOND, at.shard, at.number, told.flip.tool))
