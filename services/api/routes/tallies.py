"""Tallies: the current votes on one tool or several, and their history by hour or day."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from litestar import Response, get
from litestar.params import FromQuery, QueryParameter
from msgspec import Struct, structs

from domain.shared.as_of import parse_time
from projections.hourly_tally import HOURLY_TALLY
from projections.reads.history import BucketSize, read_history
from services.api.http.app_state import app_state
from services.api.http.auth import open_to_all
from services.api.http.consistency import AsOf, MinPosition, headers_of, snapshot_at
from services.api.http.pagination import Items, SlugInPath, slugs_in
from services.api.http.problems import HttpRejected, problem_responses
from services.api.http.requests import AnyRequest
from services.api.views.tallies import ToolTally, read_tallies_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE_TIME = {"format": "date-time"}


class Bucket(Struct, frozen=True):
    """``casts`` counts the casts and retractions in the bucket; ``ship`` and ``skip`` are the tally at its end.

    ``start`` is a whole hour or day in UTC. Where ``from`` or ``to`` falls inside a bucket, only its part in between counts.
    """

    start: datetime
    casts: int
    ship: int
    skip: int


@get("/v1/tools/{slug:str}/tally", guards=[open_to_all], responses=problem_responses(404))
async def tool_tally(
    request: AnyRequest, slug: SlugInPath, as_of: AsOf = None, min_position: MinPosition = None
) -> Response[ToolTally]:
    """The tally now, or as of a moment; share and interval are null where there are no votes."""
    tools = {slug: (await app_state(request).tool_directory.find(slug)).tool}
    tallies, freshness = await read_tallies_of(app_state(request).pool, tools, min_position, as_of)
    return Response(tallies[0], headers=headers_of(freshness))


@get("/v1/tallies", guards=[open_to_all], responses=problem_responses(404))
async def many_tallies(
    request: AnyRequest,
    tools: Annotated[
        str, QueryParameter(description="Slugs, comma-separated, at most 100", max_length=12_000)
    ],
    as_of: AsOf = None,
    min_position: MinPosition = None,
) -> Response[Items[ToolTally]]:
    """The tallies of several tools at one moment, in the order of the query."""
    tool_directory = app_state(request).tool_directory
    numbers = {slug: (await tool_directory.find(slug)).tool for slug in slugs_in(tools)}
    tallies, freshness = await read_tallies_of(app_state(request).pool, numbers, min_position, as_of)
    return Response(Items(tallies), headers=headers_of(freshness))


@get("/v1/tools/{slug:str}/history", guards=[open_to_all], responses=problem_responses(404))
async def tool_history(
    request: AnyRequest,
    slug: SlugInPath,
    bucket: FromQuery[BucketSize] = "day",
    start: Annotated[str | None, QueryParameter(name="from", schema_extra=_DATE_TIME, required=False)] = None,
    end: Annotated[str | None, QueryParameter(name="to", schema_extra=_DATE_TIME, required=False)] = None,
    min_position: MinPosition = None,
) -> Response[Items[Bucket]]:
    """Casts per hour or day (UTC) from ``from`` up to but not including ``to``, with the tally at each bucket's end.

    Both may be any moment, at any offset from UTC: votes are counted exactly. The bucket of ``from`` is also listed
    without casts, with the tally of then, if the tool had votes before.
    """
    tool = (await app_state(request).tool_directory.find(slug)).tool
    times = (
        EPOCH if start is None else _parse_time(start, "from"),
        None if end is None else _parse_time(end, "to"),
    )
    if start and times[1] is not None and times[0] > times[1]:
        raise HttpRejected(400, "invalid", "from: it is later than to. Swap the two.")
    async with snapshot_at(app_state(request).pool, min_position, [HOURLY_TALLY]) as snapshot:
        rows = await read_history(snapshot, tool, bucket, *times)
        freshness = await snapshot.freshness()
    return Response(Items([Bucket(*structs.astuple(row)) for row in rows]), headers=headers_of(freshness))


def _parse_time(text: str, name: str) -> datetime:
    """A time with its zone, in UTC. Raises HttpRejected for anything else, such as numbers and naive times."""
    try:
        return parse_time(text)
    except ValueError as error:
        raise HttpRejected(400, "invalid", f"{name}: {error}") from None
