"""Lately: what came to each tool in the last days, by the votes that stand and the days on which they were cast."""

from __future__ import annotations

from domain.verdicts.activity import PAST_DAYS, RECENT_DAYS, WEIGHTS, RecentActivity, day_and_hours
from projections.daily_votes import DAILY_VOTES
from projections.engine.snapshot import Snapshot

# Counted back from the day $1; a vote cast n days before weighs $2[n + 1].
READ = """
SELECT tool, sum((ship + skip) * ($2::bigint[])[$1 - day + 1])::bigint AS decayed_votes,
       coalesce(sum(ship + skip) FILTER (WHERE day > $1 - $3), 0)::bigint AS recent,
       coalesce(sum(ship + skip) FILTER (WHERE day <= $1 - $3 AND day > $1 - $3 - $4), 0)::bigint AS past
  FROM daily_votes
 WHERE day <= $1 AND day > $1 - cardinality($2::bigint[])
 GROUP BY tool
"""


async def read_recent_activity(snapshot: Snapshot, hour: int) -> dict[int, RecentActivity]:
    """Of all tools that votes came to, counted back from ``hour``, in hours since 1970."""
    day, hours = day_and_hours(hour)
    rows = await snapshot.fetch(DAILY_VOTES, READ, day, WEIGHTS, RECENT_DAYS, PAST_DAYS)
    return {
        tool: RecentActivity(decayed_votes, recent, past, hours) for tool, decayed_votes, recent, past in rows
    }
