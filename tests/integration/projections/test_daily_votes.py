"""Daily votes at the edges of a day: a day begins at midnight UTC, whatever the time zone of a session."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg

from domain.shared.log import Shard
from eventstore.casts import PendingCast, append_casts
from eventstore.ids import mint
from eventstore.sealed.store import Store
from projections.daily_votes import DAILY_VOTES
from projections.engine.projection import RANGE
from projections.replays.sealed_fold import fold_segments
from services.settings import Settings
from tests.support.instances import day_of
from tests.support.sealed_history import seal_all
from tests.support.stage import Log

MIDNIGHT = datetime(2030, 1, 1, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)
# Events are recorded at the time of their shard's head if that is ahead of the clock.
SET_TIME = "UPDATE heads SET recorded_at = $1 WHERE shard = 1"
FOLD = f"WITH {RANGE} {DAILY_VOTES.fold_select} ORDER BY tool, day"


async def test_a_day_begins_at_midnight_utc_in_both_engines(
    settings: Settings, pool: Log, tmp_path: Path
) -> None:
    voter, today = uuid4(), day_of(MIDNIGHT)
    for time, choice in ((MIDNIGHT - INSTANT, "ship"), (MIDNIGHT, "skip"), (MIDNIGHT + INSTANT, None)):
        await pool.execute(SET_TIME, time)
        async with pool.acquire() as conn:
            await append_casts(conn, Shard(1), [PendingCast("v", voter, 7, choice, mint(), "test")])
    expected = [(1, 7, today - 1, 0, 0, 1), (1, 7, today, 0, 0, 2)]
    for zone in ("UTC", "Asia/Tokyo", "America/Los_Angeles"):
        conn = await asyncpg.connect(settings.database_url, server_settings={"TimeZone": zone})
        assert [tuple(row) for row in await conn.fetch(FOLD, 1, 0, 3)] == expected, zone
        assert [tuple(row) for row in await conn.fetch(FOLD, 1, 0, 2)] == [
            (1, 7, today - 1, 0, 0, 1),
            (1, 7, today, 0, 1, 1),
        ]
        await conn.close()
    store = Store(tmp_path)
    await seal_all(pool, store)
    assert sorted(await fold_segments(store, DAILY_VOTES, Shard(1))) == expected
