"""Daily votes: the current votes on each tool by the day (UTC) they were cast, and the number of casts on each day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from domain.rulebooks.rulebook import Rulebook
from domain.verdicts.activity import PAST_DAYS, RECENT_DAYS, WEIGHTS, RecentActivity, day_and_hours
from domain.verdicts.decay import Ballots, DayVotes
from projections.engine.blocks import per_block
from projections.engine.projection import Projection
from projections.engine.snapshot import Snapshot
from projections.tally import read_tallies

# `day` is in days since 1970-01-01, UTC. DuckDB computes it from the epoch five times as fast as by a cast to a date.
# An event adds its vote to its own day, and subtracts the vote that it replaces from the day of that vote: events are
# first counted by the pair of days, then each pair is split into its two days.
DAILY_VOTES = Projection(
    name="daily_votes",
    shape="sum",
    keys=("tool", "day"),
    columns={
        "tool": "integer",
        "day": "integer",
        "ship": "bigint NOT NULL",
        "skip": "bigint NOT NULL",
        "casts": "bigint NOT NULL",
    },
    indexes=("day",),
    select="""
        SELECT shard, tool, CASE side WHEN 1 THEN cast_on ELSE replaced_on END AS day,
               CAST(sum(CASE side WHEN 1 THEN ship ELSE -replaced_ship END) AS bigint) AS ship,
               CAST(sum(CASE side WHEN 1 THEN skip ELSE -replaced_skip END) AS bigint) AS skip,
               CAST(sum(CASE side WHEN 1 THEN casts ELSE 0 END) AS bigint) AS casts
          FROM (SELECT shard, tool,
                       CAST(floor(date_part('epoch', recorded_at) / 86400) AS integer) AS cast_on,
                       CAST(floor(date_part('epoch', replaced_at) / 86400) AS integer) AS replaced_on,
                       count(*) FILTER (WHERE choice = 'ship') AS ship, count(*) FILTER (WHERE choice = 'skip') AS skip,
                       count(*) FILTER (WHERE replaced = 'ship') AS replaced_ship,
                       count(*) FILTER (WHERE replaced = 'skip') AS replaced_skip,
                       count(*) AS casts
                  FROM events
                 WHERE type IN ('VoteCast', 'VoteRetracted')
                 GROUP BY shard, tool, cast_on, replaced_on) AS pairs
         CROSS JOIN (VALUES (1), (2)) AS sides (side)
         WHERE side = 1 OR replaced_on IS NOT NULL
         GROUP BY shard, tool, day
    """,
)
BLOCK_DAYS = per_block(DAILY_VOTES, "block_days")

READ_DAYS = """
SELECT tool, day, sum(ship)::bigint AS ship, sum(skip)::bigint AS skip, sum(casts)::bigint AS casts
  FROM daily_votes WHERE tool = ANY($1) GROUP BY tool, day ORDER BY tool, day
"""
# Back from the day $1: a vote cast n days before has the weight $2[n + 1].
READ_RECENT_ACTIVITY = """
SELECT tool, sum((ship + skip) * ($2::bigint[])[$1 - day + 1])::bigint AS decayed_votes,
       coalesce(sum(ship + skip) FILTER (WHERE day > $1 - $3), 0)::bigint AS recent,
       coalesce(sum(ship + skip) FILTER (WHERE day <= $1 - $3 AND day > $1 - $3 - $4), 0)::bigint AS past
  FROM daily_votes
 WHERE day <= $1 AND day > $1 - cardinality($2::bigint[])
 GROUP BY tool
"""


async def read_days(snapshot: Snapshot, tools: Sequence[int]) -> dict[int, tuple[int, tuple[DayVotes, ...]]]:
    """(day of the newest cast or retraction, days with current votes) of each tool that ever had a vote."""
    today: dict[int, int] = {}
    days: dict[int, list[DayVotes]] = defaultdict(list)
    for tool, day, ship, skip, casts in await snapshot.fetch(DAILY_VOTES, READ_DAYS, list(tools)):
        if casts:
            today[tool] = day
        if ship or skip:
            days[tool].append(DayVotes(day, ship, skip))
    return {tool: (today[tool], tuple(days[tool])) for tool in today}


async def read_ballots(snapshot: Snapshot, tools: Sequence[int], rulebook: Rulebook) -> dict[int, Ballots]:
    """The current votes on each of the tools; by day only for a rulebook that weighs the age of votes."""
    tallies = await read_tallies(snapshot, tools)
    aged = await read_days(snapshot, tools) if rulebook.weighs_age else {}
    return {tool: Ballots(*tallies.get(tool, (0, 0)), *aged.get(tool, (None, ()))) for tool in tools}


async def read_recent_activity(snapshot: Snapshot, hour: int) -> dict[int, RecentActivity]:
    """By tool, for tools with recent votes; back from ``hour``, in hours since 1970."""
    day, hours = day_and_hours(hour)
    rows = await snapshot.fetch(DAILY_VOTES, READ_RECENT_ACTIVITY, day, WEIGHTS, RECENT_DAYS, PAST_DAYS)
    return {
        tool: RecentActivity(decayed_votes, recent, past, hours) for tool, decayed_votes, recent, past in rows
    }
