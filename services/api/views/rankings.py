"""Rankings: all tools in one order, read without their cards; only the tools of one page need cards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Meta, Struct

from domain.rulebooks.rulebook import Rulebook
from domain.verdicts.activity import RecentActivity
from domain.verdicts.rankings import Contender, Rank, Sort, rank
from projections.catalogue import read_listed
from projections.daily_votes import read_recent_activity
from projections.engine.snapshot import Snapshot
from projections.scorecard import read_splits
from projections.tally import read_tallies
from services.api.http.pagination import read_cursor
from services.api.http.problems import HttpRejected

BY_ACTIVITY: tuple[Sort, ...] = ("hot", "trending")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)

# In hours since 1970, up to about the year 8800.
Hour = Annotated[int, Meta(ge=0, le=60_000_000)]


class RankedTool(Struct, frozen=True):
    """``rank`` ends with the tool's number, so that the newer of two equal tools comes first."""

    tool: int
    slug: str
    category: str
    rank: Rank
    recent_activity: RecentActivity


class RankingCursor(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The end of the previous page, and the hour that its recent activity was counted back from.

    ``as_of`` are the positions of the first page: all pages are of the same moment, whatever moves meanwhile.
    """

    sort: Sort
    hour: Hour | None
    rank: Rank
    as_of: str | None = None


class Ranking(Struct, frozen=True):
    """The tools in the order ``sort``. ``hour`` is None for an empty log, and for an order without recent activity."""

    sort: Sort
    hour: Hour | None
    ranked: list[RankedTool]

    def page(
        self, category: str | None, after: RankingCursor | None, limit: int
    ) -> tuple[list[int], RankingCursor | None]:
        """The numbers of the tools on a page, and the cursor of the next page, without the positions."""
        listed = [
            each
            for each in self.ranked
            if category in (None, each.category) and (after is None or each.rank < after.rank)
        ]
        more = RankingCursor(self.sort, self.hour, listed[limit - 1].rank) if len(listed) > limit else None
        return [each.tool for each in listed[:limit]], more


def parse_ranking_cursor(cursor: str, sort: Sort) -> RankingCursor:
    """Raises HttpRejected for a cursor of another order."""
    after = read_cursor(cursor, RankingCursor)
    if after.sort != sort:
        raise HttpRejected(
            400,
            "invalid",
            f"cursor: this is a cursor of the order {after.sort!r}. Start from the first page of {sort!r}.",
        )
    return after


async def read_ranking(
    snapshot: Snapshot, rulebook: Rulebook, sort: Sort, after: RankingCursor | None = None
) -> Ranking:
    """All tools that are not retired. The hour of ``after`` is kept, so that all pages count back from the same hour."""
    listed = await read_listed(snapshot)
    tools = [tool for tool, *_ in listed]
    splits = await read_splits(snapshot)
    tallies = await read_tallies(snapshot, tools)
    hour = (after.hour if after else await _newest_hour(snapshot)) if sort in BY_ACTIVITY else None
    recent_activity = await read_recent_activity(snapshot, hour) if hour is not None else {}
    ranked = []
    for tool, slug, category in listed:
        activity = recent_activity.get(tool, RecentActivity())
        contender = Contender(*tallies.get(tool, (0, 0)), *splits.get(tool, (0, 0, 0)), activity)
        ranked.append(RankedTool(tool, slug, category, (*rank(sort, contender, rulebook), tool), activity))
    ranked.sort(key=lambda each: each.rank, reverse=True)
    return Ranking(sort, hour, ranked)


async def _newest_hour(snapshot: Snapshot) -> int | None:
    newest = await snapshot.newest()
    return None if newest is None else (newest - _EPOCH) // _HOUR
