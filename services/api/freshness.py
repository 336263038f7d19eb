"""Freshness: what an answer shows, in its headers; and waiting for a position that the client has seen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

from asyncpg import Pool, Record
from litestar.params import QueryParameter

from domain.log import Position, parse_position
from projections.engine import Projection
from projections.registry import PROJECTIONS
from projections.snapshot import Freshness, Snapshot, reach, take_snapshot
from services.api.problems import Rejected

MinPosition = Annotated[
    str | None,
    QueryParameter(
        name="min_position",
        description="Wait until the answer shows this log position (shard.number), at most 2 s.",
        max_length=200,
        required=False,
    ),
]


@asynccontextmanager
async def snapshot_at(
    pool: Pool[Record], min_position: str | None, projections: Sequence[Projection] = PROJECTIONS
) -> AsyncIterator[Snapshot]:
    """A snapshot that shows at least ``min_position``. Raises Rejected or NotThereYet."""
    if min_position is not None:
        await reach(pool, projections, _wanted(min_position))
    async with take_snapshot(pool) as snapshot:
        yield snapshot


def headers_of(freshness: Freshness) -> dict[str, str]:
    return {"Shiplog-Position": str(freshness), "Shiplog-Lag-Ms": str(freshness.lag_ms)}


def _wanted(text: str) -> list[Position]:
    try:
        return [parse_position(part) for part in text.split(",")]
    except ValueError as error:
        raise Rejected(400, "invalid", f"min_position: {error}") from None
