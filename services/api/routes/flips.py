"""Flips: changes of verdicts, newest first, each with the event that caused it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from asyncpg import Pool, Record
from litestar import Response, get
from litestar.params import QueryParameter
from msgspec import Meta, Struct

from domain.shared.log import Position, Shard
from domain.shared.types import SLUG
from domain.timeline.flips import LogOrder
from projections.engine.follower import FLIPS, follower_of
from projections.flips.reads import FlipDetails, order_of
from projections.flips.store import AFTER_ALL, BEFORE_ALL
from services.api.http.app_state import app_state
from services.api.http.auth import open_to_all
from services.api.http.consistency import AS_OF_CHARS_MAX, MinPosition, headers_of, moment_in, positions_in
from services.api.http.pagination import Items, next_link, read_cursor, write_cursor
from services.api.http.problems import HttpRejected, problem_responses
from services.api.http.requests import AnyRequest
from services.api.views.flips import TOOL_MAX, FlipResponse, present_flip, read_newest

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)

ToolFilter = Annotated[
    str | None,
    QueryParameter(
        description="Only flips of the tool with this slug.",
        pattern=SLUG,
        max_length=100,
        required=False,
    ),
]


class FlipCursor(Struct, frozen=True, array_like=True):
    """The last flip of the previous page; its time in microseconds since 1970."""

    microseconds: Annotated[int, Meta(ge=0, le=10**17)]
    shard: Annotated[int, Meta(ge=0, le=2**15 - 1)]
    number: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    tool: Annotated[int, Meta(ge=0, le=TOOL_MAX)]


@get("/v1/verdicts/flips", guards=[open_to_all], responses=problem_responses(404))
async def list_flips(
    request: AnyRequest,
    since: Annotated[
        str | None,
        QueryParameter(
            description="Only flips after this moment: a time (2026-03-01T00:00:00Z), or the position of an event (3.1842).",
            max_length=AS_OF_CHARS_MAX,
            required=False,
        ),
    ] = None,
    tool: ToolFilter = None,
    cursor: Annotated[str | None, QueryParameter(max_length=400, required=False)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 20,
    min_position: MinPosition = None,
) -> Response[Items[FlipResponse]]:
    """Flips, newest first, in the order of the log; the next page is in ``Link: rel=next``."""
    pool = app_state(request).pool
    if min_position is not None:
        await follower_of(pool).wait([FLIPS], positions_in(min_position))
    after = await _place_of(pool, since) if since is not None else BEFORE_ALL
    flips, freshness = await read_newest(request, limit + 1, tool, after, _before(cursor))
    more = _cursor(flips[limit - 1]) if len(flips) > limit else None
    headers = headers_of(freshness) | ({"Link": next_link(request, more)} if more else {})
    return Response(Items([present_flip(each) for each in flips[:limit]], more), headers=headers)


async def _place_of(pool: Pool[Record], since: str) -> LogOrder:
    match moment_in(since, "since"):
        case datetime() as time:
            return LogOrder(time, AFTER_ALL.shard, AFTER_ALL.number)
        case Position() as position:
            return await order_of(pool, position)
        case _:
            raise HttpRejected(400, "invalid", "since: write a time, or the position of one event.")


def _before(cursor: str | None) -> tuple[LogOrder, int]:
    if cursor is None:
        return AFTER_ALL, TOOL_MAX
    after = read_cursor(cursor, FlipCursor)
    return LogOrder(_EPOCH + after.microseconds * _MICROSECOND, Shard(after.shard), after.number), after.tool


def _cursor(details: FlipDetails) -> str:
    place = details.flip.order
    return write_cursor(
        ((place.recorded_at - _EPOCH) // _MICROSECOND, place.shard, place.number, details.flip.tool)
    )
