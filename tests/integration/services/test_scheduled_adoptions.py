"""Scheduled adoptions take effect by one event that a worker appends, however many workers run."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from domain.editorial.adoptions import AdoptRulebook, Command, ScheduleAdoption
from domain.rulebooks.presets import DEFAULT, PRESETS
from domain.rulebooks.rulebook import Rulebook
from eventstore.rulebook_decisions import decide_adoption
from projections.adoptions import rulebook_in_force
from projections.engine.snapshot import take_snapshot
from services.settings import Settings
from services.wakeups import Wakeups
from services.workers.jobs import Context, adopt_due
from services.workers.run import _repeat
from tests.integration.services.test_wakeups_and_worker import until, worker
from tests.support.stage import AUTHOR, Log, catch_up

FOUR, SCORE = PRESETS["four-in-five"], PRESETS["score-weighted"]


async def decide(log: Log, command: Command) -> None:
    await decide_adoption(log, command, AUTHOR)


async def in_force(log: Log) -> Rulebook:
    async with take_snapshot(log) as snapshot:
        return await rulebook_in_force(snapshot)


def soon(book: Rulebook, milliseconds: int) -> ScheduleAdoption:
    """Scheduled for a time that comes while the test runs."""
    now = datetime.now(UTC)
    return ScheduleAdoption(book.digest, "In time.", now + timedelta(milliseconds=milliseconds), now)


async def adopted(log: Log) -> list[str]:
    rows = await log.fetch("SELECT type, origin FROM events WHERE shard = 0 ORDER BY position")
    return [row["origin"] for row in rows if row["type"] == "RulebookAdopted"]


async def test_a_worker_adopts_a_rulebook_when_it_is_due(settings: Settings, pool: Log) -> None:
    async with worker(settings) as ctx:
        loop = asyncio.create_task(_repeat(adopt_due, ctx, 0.02))
        await decide(pool, soon(FOUR, 60))

        async def took_effect() -> bool:
            return await in_force(pool) == FOUR

        assert await in_force(pool) == DEFAULT
        await until(took_effect)
        loop.cancel()
    assert await adopted(pool) == ["worker"]


async def test_several_workers_adopt_a_rulebook_once(pool: Log) -> None:
    await decide(pool, soon(FOUR, 1))
    await decide(pool, soon(SCORE, 1))
    await catch_up(pool)
    ctx = Context(pool=pool, wakeups=Wakeups(None))

    async def any_appended() -> bool:
        appended = await asyncio.gather(*(adopt_due(ctx) for _ in range(4)))
        return sum(appended) > 0

    await until(any_appended)
    await until(lambda: _in_force_is(pool, SCORE))
    assert await adopt_due(ctx) == 0
    assert await adopted(pool) == ["worker", "worker"]


async def _in_force_is(log: Log, book: Rulebook) -> bool:
    await adopt_due(Context(pool=log, wakeups=Wakeups(None)))
    return await in_force(log) == book


async def test_a_rulebook_is_not_due_before_its_time_or_once_it_is_adopted(pool: Log) -> None:
    ctx = Context(pool=pool, wakeups=Wakeups(None))
    assert await adopt_due(ctx) == 0
    await decide(pool, soon(FOUR, 3_600_000))
    await catch_up(pool)
    assert await adopt_due(ctx) == 0
    await decide(pool, soon(SCORE, 1))
    await catch_up(pool)  # now it is due in the read model, but adopted in the log
    await decide(pool, AdoptRulebook(SCORE.digest, "At once."))
    assert await adopt_due(ctx) == 0
    await catch_up(pool)
    assert await adopt_due(ctx) == 0
    assert await adopted(pool) == ["test"]
