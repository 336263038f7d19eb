"""Rankings: all tools in one order, from what an order reads and no more; cards are read of the page that is shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Meta, Struct

from domain.rulebooks.rulebook import Rulebook
from domain.verdicts.activity import RecentActivity
from domain.verdicts.rankings import Contender, Rank, Sort, rank
from projections.catalogue import read_listed
from projections.engine.snapshot import Snapshot
from projections.reads.recent_activity import read_recent_activity
from projections.scorecard import read_splits
from projections.tally import read_tallies
from services.api.http.pagination import read_cursor, write_cursor
from services.api.http.problems import HttpRejected

BY_AGE: tuple[Sort, ...] = ("hot", "trending")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)

# Up to the year 8800 or so.
Hour = Annotated[int, Meta(ge=0, le=60_000_000)]


class Ranked(Struct, frozen=True):
    """``rank`` ends with the tool's number: the newer of equals comes first."""

    tool: int
    slug: str
    category: str
    rank: Rank
    recent_activity: RecentActivity


class RankingCursor(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where the page before ended. ``hour`` is the one it counted back from, in hours since 1970."""

    sort: Sort
    hour: Hour | None
    rank: Rank


class Order(Struct, frozen=True):
    """First by ``sort``, counted back from ``hour`` where that matters; None of an empty log."""

    sort: Sort
    hour: Hour | None
    ranked: list[Ranked]

    def page(
        self, category: str | None, after: RankingCursor | None, limit: int
    ) -> tuple[list[int], str | None]:
        """Numbers of tools, and the cursor to more of them."""
        listed = [
            each
            for each in self.ranked
            if category in (None, each.category) and (after is None or each.rank < after.rank)
        ]
        more = RankingCursor(self.sort, self.hour, listed[limit - 1].rank) if len(listed) > limit else None
        return [each.tool for each in listed[:limit]], write_cursor(more) if more else None


def read_after(cursor: str, sort: Sort) -> RankingCursor:
    """Raises Rejected for a cursor of another order."""
    after = read_cursor(cursor, RankingCursor)
    if after.sort != sort:
        raise HttpRejected(
            400,
            "invalid",
            f"cursor: it is of the order {after.sort!r}. Start from the first page of {sort!r}.",
        )
    return after


async def read_order(
    snapshot: Snapshot, rulebook: Rulebook, sort: Sort, after: RankingCursor | None = None
) -> Order:
    """All tools that are not retired. A page after another counts back from the same hour as that one."""
    listed = await read_listed(snapshot)
    tools = [tool for tool, *_ in listed]
    splits = await read_splits(snapshot)
    tallies = await read_tallies(snapshot, tools)
    hour = (after.hour if after else await _newest_hour(snapshot)) if sort in BY_AGE else None
    recent_activity = await read_recent_activity(snapshot, hour) if hour is not None else {}
    ranked = []
    for tool, slug, category in listed:
        came = recent_activity.get(tool, RecentActivity())
        contender = Contender(*tallies.get(tool, (0, 0)), *splits.get(tool, (0, 0, 0)), came)
        ranked.append(Ranked(tool, slug, category, (*rank(sort, contender, rulebook), tool), came))
    ranked.sort(key=lambda each: each.rank, reverse=True)
    return Order(sort, hour, ranked)


async def _newest_hour(snapshot: Snapshot) -> int | None:
    newest = await snapshot.newest()
    return None if newest is None else (newest - _EPOCH) // _HOUR
