"""Weekday tally: when people vote, by weekday and hour of day (UTC)."""

from __future__ import annotations

from projections.engine.projection import Projection
from projections.engine.snapshot import Snapshot

WEEKDAY_TALLY = Projection(
    name="weekday_tally",
    shape="sum",
    keys=("weekday", "hour"),
    columns={"weekday": "smallint", "hour": "smallint", "casts": "bigint NOT NULL"},
    select="""
        SELECT shard, CAST(extract(isodow FROM recorded_at) AS smallint) AS weekday,
               CAST(extract(hour FROM recorded_at) AS smallint) AS hour, count(*) AS casts
          FROM events
         WHERE type IN ('VoteCast', 'VoteRetracted')
         GROUP BY shard, extract(isodow FROM recorded_at), extract(hour FROM recorded_at)
    """,
)

READ = "SELECT weekday, hour, sum(casts)::bigint FROM weekday_tally GROUP BY weekday, hour"


async def read_weekdays(snapshot: Snapshot) -> dict[tuple[int, int], int]:
    """Casts and retractions by (weekday, hour), Monday 1 to Sunday 7."""
    return {(weekday, hour): casts for weekday, hour, casts in await snapshot.fetch(WEEKDAY_TALLY, READ)}
