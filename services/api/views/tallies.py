"""Tallies as answers and streams show them."""

from __future__ import annotations

from typing import Annotated

from asyncpg import Pool, Record
from msgspec import Meta, Struct

from domain.verdicts.verdict import Tally, count
from projections.adoptions import RULEBOOK_READ_MODELS, rulebook_in_force
from projections.engine.snapshot import Freshness
from projections.tally import TALLY, read_tallies
from services.api.http.consistency import snapshot_at

# The rulebook sets the confidence of the interval, and the number of votes below which a tally is preliminary.
READ_BY_TALLIES = (TALLY, *RULEBOOK_READ_MODELS)


class ToolTally(Struct, frozen=True):
    tool: str
    ship: int
    skip: int
    total: int
    share: str | None
    interval: Annotated[list[str], Meta(min_length=2, max_length=2)] | None
    preliminary: bool


def present_tally(slug: str, tally: Tally) -> ToolTally:
    interval = tally.interval and [str(end) for end in tally.interval]
    share = None if tally.share is None else str(tally.share)
    return ToolTally(slug, tally.ship, tally.skip, tally.total, share, interval, tally.preliminary)


async def read_tallies_of(
    pool: Pool[Record], tools: dict[str, int], min_position: str | None = None, as_of: str | None = None
) -> tuple[list[ToolTally], Freshness]:
    """The tallies of tools, by slug and number, at one moment. Raises NotListedYet."""
    async with snapshot_at(pool, min_position, READ_BY_TALLIES, as_of=as_of) as snapshot:
        for slug, tool in tools.items():
            snapshot.check_listed(slug, tool)
        rulebook = await rulebook_in_force(snapshot)
        votes = await read_tallies(snapshot, list(tools.values()))
        freshness = await snapshot.freshness()
    return [
        present_tally(slug, count(*votes.get(tool, (0, 0)), rulebook)) for slug, tool in tools.items()
    ], freshness


async def read_tallies_by_slug(
    pool: Pool[Record], tools: dict[str, int]
) -> tuple[dict[str, ToolTally], Freshness]:
    tallies, freshness = await read_tallies_of(pool, tools)
    return {tally.tool: tally for tally in tallies}, freshness
