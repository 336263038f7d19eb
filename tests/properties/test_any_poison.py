"""Any poison at any positions, in any batches, with several workers: exactly the poison is parked, all else is folded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest
from asyncpg import Pool, Record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.shared.log import Shard
from projections.engine.advance import CheckpointMoved, advance, shards_behind
from projections.engine.projection import Projection
from projections.replays.jobs import begin
from projections.replays.run import run
from projections.replays.verify import verify_all
from services.resources import open_pool
from services.settings import Settings
from tests.support.instances import fresh_database
from tests.support.poisoned import (
    ALONE,
    BROKEN,
    FIXED,
    GRADES,
    MENDED,
    append,
    fold,
    install_grades,
    kept,
    parked,
    poison_of,
)

scores = st.sampled_from(["5", "10", "20", "50", "5", "10", "20", "50", "x", "0", None])
events = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4), scores), min_size=1, max_size=60)
batches = st.lists(st.integers(1, 20), min_size=1, max_size=4)
_alone = count(ALONE)


@pytest.fixture(scope="module")
async def graded(postgres: object, template: str) -> AsyncIterator[tuple[Settings, Pool[Record]]]:
    async with fresh_database(postgres, template) as settings, await open_pool(settings) as pool:  # type: ignore[arg-type]
        yield settings, pool


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=events, batches=batches, workers=st.integers(1, 3))
async def test_exactly_the_poison_is_parked_and_all_else_is_folded(
    graded: tuple[Settings, Pool[Record]],
    events: list[tuple[int, int, str | None]],
    batches: list[int],
    workers: int,
) -> None:
    _, log = graded
    await _empty(graded)
    written = []
    for shard in (1, 2, 3):
        mine = [(tool if score else next(_alone), score) for number, tool, score in events if number == shard]
        written += await append(log, Shard(shard), mine)

    await asyncio.gather(*(_work(log, BROKEN, batches[n:] + batches[:n]) for n in range(workers)))
    await _work(log, BROKEN, batches)
    assert await parked(log) == poison_of(written)
    assert await kept(log) == fold(written)
    assert [(each.projection, each.rows) for each in await verify_all(log, BROKEN) if each.drift] == []

    done = await run(log, MENDED, await begin(log, FIXED))
    assert (done.state, done.drift) == ("cut-over", 0)
    assert (await parked(log), await kept(log)) == ([], fold(written, poison=0))


async def _empty(graded: tuple[Settings, Pool[Record]]) -> None:
    """Each example has an empty log. Only the owner of the database may delete events."""
    settings, log = graded
    await install_grades(settings, empty=True)
    assert await parked(log) == []


async def _work(log: Pool[Record], projections: tuple[Projection, ...], batches: list[int]) -> None:
    turn = count()
    while shards := await shards_behind(log):
        for shard in shards:
            batch = batches[next(turn) % len(batches)]
            try:
                while await advance(log, projections, shard, batch=batch):
                    batch = batches[next(turn) % len(batches)]
            except CheckpointMoved:
                pass
        await asyncio.sleep(0)


def test_the_read_model_of_the_examples_reads_only_grades() -> None:
    assert GRADES.families == FIXED.families == ("Graded",)
