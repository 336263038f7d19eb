"""Consistency of reads: min_position (read your own write), as_of (the past), and the headers that say what is shown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

from asyncpg import Pool, Record
from litestar.params import QueryParameter

from domain.shared.as_of import PointInTime, parse_point_in_time
from domain.shared.log import Position, parse_position
from eventstore.as_of_positions import resolve_positions
from projections.engine.follower import follower_of
from projections.engine.projection import Projection
from projections.engine.registry import PROJECTIONS
from projections.engine.snapshot import Freshness, Snapshot, take_snapshot
from projections.reads.as_of import snapshot_as_of
from services.api.http.problems import HttpRejected

AS_OF_CHARS_MAX = 2_000

MinPosition = Annotated[
    str | None,
    QueryParameter(
        name="min_position",
        description="Wait until the answer shows this log position (shard.number), at most 2 s.",
        schema_extra={"pattern": r"^[0-9]+\.[0-9]+(,[0-9]+\.[0-9]+)*$"},
        max_length=200,
        required=False,
    ),
]
AsOf = Annotated[
    str | None,
    QueryParameter(
        name="as_of",
        description=(
            "Show the state as of this moment: a time that has passed (2026-03-01T00:00:00Z), a position "
            "(3.1842), or a position of every shard, as Shiplog-Position has them."
        ),
        max_length=AS_OF_CHARS_MAX,
        required=False,
    ),
]


@asynccontextmanager
async def snapshot_at(
    pool: Pool[Record],
    min_position: str | None,
    projections: Sequence[Projection] = PROJECTIONS,
    *,
    as_of: str | None = None,
) -> AsyncIterator[Snapshot]:
    """A snapshot ``as_of`` a moment, or of the newest state, which shows at least ``min_position``.

    Raises HttpRejected for a malformed position or moment, and what CheckpointFollower.wait and resolve_positions raise.
    """
    if min_position is not None:
        await follower_of(pool).wait([each.name for each in projections], positions_in(min_position))
    if as_of is None:
        async with take_snapshot(pool) as snapshot:
            yield snapshot
    else:
        positions = await resolve_positions(pool, moment_in(as_of, "as_of"))
        async with snapshot_as_of(pool, positions) as (snapshot,):
            yield snapshot


def moment_in(text: str, parameter: str) -> PointInTime:
    """Raises HttpRejected, which says how a moment is written."""
    try:
        return parse_point_in_time(text)
    except ValueError as error:
        raise HttpRejected(400, "invalid", f"{parameter}: {error}") from None


def headers_of(freshness: Freshness) -> dict[str, str]:
    """Includes the number of missing events if a read model of the answer is incomplete."""
    headers = {"Shiplog-Position": str(freshness), "Shiplog-Lag-Ms": str(freshness.lag_ms)}
    if freshness.incomplete:
        headers["Shiplog-Incomplete"] = str(freshness.incomplete)
    return headers


def positions_in(text: str) -> list[Position]:
    """The positions in a ``min_position``. Raises HttpRejected if it is malformed."""
    try:
        return [parse_position(part) for part in text.split(",")]
    except ValueError as error:
        raise HttpRejected(400, "invalid", f"min_position: {error}") from None
