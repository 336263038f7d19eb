"""Flips as answers and feeds show them."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from domain.rulebooks.rulebook import Label
from domain.timeline.flips import LogOrder
from projections.engine.snapshot import Freshness
from projections.flips.reads import FlipDetails, flips_at_one_moment, newest_flips
from projections.flips.store import AFTER_ALL, BEFORE_ALL
from services.api.http.app_state import app_state
from services.api.http.requests import AnyRequest

TOOL_MAX = 2**31 - 1  # above the number of any tool


class Cause(Struct, frozen=True):
    """``reviewer`` is set where the event is a take, ``rulebook`` where it is an adoption. Voters are never named."""

    type: str
    reviewer: str | None
    rulebook: str | None


class FlipResponse(Struct, frozen=True):
    """``rulebook`` is the digest of the one in force from this position on."""

    slug: str
    name: str
    before: Label
    after: Label
    at: datetime
    position: str
    event: Cause
    rulebook: str


async def read_newest(
    request: AnyRequest,
    limit: int,
    slug: str | None = None,
    since: LogOrder = BEFORE_ALL,
    before: tuple[LogOrder, int] = (AFTER_ALL, TOOL_MAX),
) -> tuple[list[FlipDetails], Freshness]:
    """Raises Unknown for a slug that names no tool."""
    tool = None if slug is None else (await app_state(request).tool_directory.find(slug)).tool
    async with flips_at_one_moment(app_state(request).pool) as (conn, freshness):
        return await newest_flips(conn, since, before, limit, tool), freshness


def present_flip(details: FlipDetails) -> FlipResponse:
    flip = details.flip
    adopted = flip.rulebook if flip.event == "RulebookAdopted" else None
    return FlipResponse(
        details.slug,
        details.name,
        flip.before,
        flip.after,
        flip.place.recorded_at,
        str(flip.place.position),
        Cause(flip.event, details.reviewer, adopted),
        flip.rulebook,
    )
