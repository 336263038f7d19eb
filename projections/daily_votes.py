"""Daily votes: how many votes stand by the day (UTC) on which they were cast, and how many casts each day saw, by tool."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from domain.verdicts.decay import DayVotes
from projections.engine.projection import Projection
from projections.engine.snapshot import Snapshot

# `day` counts from 1970-01-01. An event adds a vote to its own day, and takes the one it replaces from the day of that.
# Events of one pair of days are counted first, and then each pair is put on its two days.
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
        SELECT shard, tool, CAST(CASE side WHEN 1 THEN cast_on ELSE replaced_on END AS integer) AS day,
               CAST(sum(CASE side WHEN 1 THEN ship ELSE -not_ship END) AS bigint) AS ship,
               CAST(sum(CASE side WHEN 1 THEN skip ELSE -not_skip END) AS bigint) AS skip,
               CAST(sum(CASE side WHEN 1 THEN casts ELSE 0 END) AS bigint) AS casts
          FROM (SELECT shard, tool,
                       CAST(recorded_at AS date) - DATE '1970-01-01' AS cast_on,
                       CAST(replaced_at AS date) - DATE '1970-01-01' AS replaced_on,
                       count(*) FILTER (WHERE choice = 'ship') AS ship, count(*) FILTER (WHERE choice = 'skip') AS skip,
                       count(*) FILTER (WHERE replaced = 'ship') AS not_ship,
                       count(*) FILTER (WHERE replaced = 'skip') AS not_skip,
                       count(*) AS casts
                  FROM events
                 WHERE type IN ('VoteCast', 'VoteRetracted')
                 GROUP BY shard, tool, CAST(recorded_at AS date), CAST(replaced_at AS date)) AS pairs
         CROSS JOIN (VALUES (1), (2)) AS sides (side)
         WHERE side = 1 OR replaced_on IS NOT NULL
         GROUP BY shard, tool, CASE side WHEN 1 THEN cast_on ELSE replaced_on END
    """,
)

READ = """
SELECT tool, day, sum(ship)::bigint AS ship, sum(skip)::bigint AS skip, sum(casts)::bigint AS casts
  FROM daily_votes WHERE tool = ANY($1) GROUP BY tool, day ORDER BY tool, day
"""


async def read_days(snapshot: Snapshot, tools: Sequence[int]) -> dict[int, tuple[int, tuple[DayVotes, ...]]]:
    """Of each tool that ever had a vote: the day of its newest cast or retraction, and the days whose votes stand."""
    today: dict[int, int] = {}
    days: dict[int, list[DayVotes]] = defaultdict(list)
    for tool, day, ship, skip, casts in await snapshot.fetch(DAILY_VOTES, READ, list(tools)):
        if casts:
            today[tool] = day
        if ship or skip:
            days[tool].append(DayVotes(day, ship, skip))
    return {tool: (today[tool], tuple(days[tool])) for tool in today}
