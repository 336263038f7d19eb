"""Casts of the past: appended with their own times, and decided as live ones are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

from domain.shared.log import Shard
from eventstore.casts import PendingCast, append_casts
from eventstore.history import HistoryOutOfOrder, PastCast, append_history
from eventstore.ids import ids_at
from tests.support.stage import Log

START = datetime(2020, 2, 29, 23, 59, tzinfo=UTC)
READ_EVENTS = """
SELECT e.position, e.type, e.tool, e.actor, e.choice, e.replaced, e.id, e.origin,
       e.replaced_at IS NOT DISTINCT FROM r.recorded_at AS replaced_time_is_right
  FROM events AS e
  LEFT JOIN LATERAL (
       SELECT recorded_at FROM events AS r
        WHERE e.replaced IS NOT NULL AND r.shard = e.shard AND r.actor = e.actor AND r.tool = e.tool
          AND r.position < e.position AND left(r.type, 4) = left(e.type, 4)
        ORDER BY r.position DESC LIMIT 1) AS r ON true
 WHERE e.shard = $1
 ORDER BY e.position
"""
READ_STANDINGS = """
SELECT kind, actor, tool, choice, id, position FROM standings WHERE shard = $1 ORDER BY kind, actor, tool
"""


def some_casts(seed: int) -> list[PastCast]:
    """Few voters who often change, retract and repeat their choices, and some ids that are older than the ballot's."""
    rng, casts = Random(seed), []
    for number in range(120):
        kind = rng.choice("vvvb")
        actor, tool = UUID(int=rng.randrange(1, 5)), rng.randrange(1, 3)
        choice = rng.choice(["ship", "skip", None] if kind == "v" else ["saved", None])
        at = START + timedelta(seconds=number // 2)
        age = rng.choice([0, 0, 0, 9_000])
        vote_id = ids_at(int(at.timestamp() * 1000) - age)(number, actor)
        casts.append(PastCast(at, "v" if kind == "v" else "b", actor, tool, choice, vote_id, "test"))
    return casts


async def stored(log: Log, shard: int) -> tuple[list[Any], list[Any]]:
    return await log.fetch(READ_EVENTS, shard), await log.fetch(READ_STANDINGS, shard)


@pytest.mark.parametrize("seed", range(4))
async def test_past_casts_are_decided_as_live_ones(pool: Log, seed: int) -> None:
    past = some_casts(seed)
    live = [PendingCast(c.kind, c.actor, c.tool, c.choice, c.id, c.source) for c in past]
    async with pool.acquire() as conn:
        for cast in live:
            await append_casts(conn, Shard(1), [cast])
        appended = [
            await append_history(conn, Shard(2), part) for part in (past[:50], past[50:51], past[51:])
        ]
    events, standings = await stored(pool, 2)
    assert (events, standings) == await stored(pool, 1)
    assert sum(appended) == len(events) > 40
    assert all(event["replaced_time_is_right"] for event in events)
    head = await pool.fetchrow("SELECT position, recorded_at FROM heads WHERE shard = 2")
    last = await pool.fetchval("SELECT max(recorded_at) FROM events WHERE shard = 2")
    assert head is not None
    assert (head["position"], head["recorded_at"]) == (len(events), last)
    assert last < START + timedelta(minutes=2)


async def test_a_cast_before_the_last_event_is_refused_and_nothing_is_stored(pool: Log) -> None:
    first, second, *_ = some_casts(0)[::4]
    async with pool.acquire() as conn:
        with pytest.raises(HistoryOutOfOrder, match="comes after"):
            await append_history(conn, Shard(1), [second, first])
        await append_history(conn, Shard(1), [second])
        with pytest.raises(HistoryOutOfOrder):
            await append_history(conn, Shard(1), [first])
    assert await pool.fetchval("SELECT count(*) FROM events") == 1


async def test_an_empty_history_changes_nothing(pool: Log) -> None:
    async with pool.acquire() as conn:
        assert await append_history(conn, Shard(1), []) == 0
    assert await pool.fetchval("SELECT position FROM heads WHERE shard = 1") == 0
