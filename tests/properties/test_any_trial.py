"""A trial finds the same flips as judging every prefix: for any rulebook, log, slices and ranges, from both sources."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest
from asyncpg import Connection, Pool, Record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.rulebooks.presets import PRESETS
from domain.rulebooks.rulebook import Rulebook
from domain.shared.log import Position, Shard
from domain.timeline.flips import Flip
from domain.timeline.trials import ScenarioResult
from eventstore.sealed.store import Store
from projections.trials import from_postgres
from projections.trials.run import Source, try_rulebook
from services.embedded.postgres import Postgres
from services.resources import open_pool
from tests.oracles.trials import FlipRow, plain_trial
from tests.support.instances import fresh_database
from tests.support.random_rulebooks import rulebooks
from tests.support.sealed_history import seal_all
from tests.support.written_log import WrittenLog, empty

TOOLS = (1, 2, 3)
books = rulebooks | st.sampled_from(list(PRESETS.values()))
tools = st.sampled_from([1, 1, 1, 2])
choices = st.sampled_from(["ship", "ship", "skip", None])
takes = st.none() | st.tuples(st.integers(0, 100), st.sampled_from(["ship", "skip"]))
steps = st.tuples(
    st.sampled_from([0, 0, 0, 1, 1, 30, 800]),  # hours since the one before
    st.one_of(
        *[st.tuples(st.just("vote"), tools, st.integers(0, 25), choices)] * 10,
        st.tuples(st.just("take"), tools, st.sampled_from("abc"), takes),
        st.tuples(st.just("adopt"), books),
        st.tuples(st.just("panel"), st.sampled_from("abc"), st.booleans()),
    ),
)


@pytest.fixture(scope="module")
async def writable(
    postgres: Postgres, template: str
) -> AsyncIterator[tuple[Pool[Record], Connection[Record]]]:
    async with fresh_database(postgres, template) as database, await open_pool(database) as pool:
        owner = await asyncpg.connect(database.database_url)
        yield pool, owner
        await owner.close()


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(steps, min_size=80, max_size=150),
    tried=books,
    slice=st.sampled_from([0, 1, 5, 30, 10_000]),
    range_events=st.sampled_from([5, 40, 1_000]),
    sealed=st.sampled_from([0, 0, 15, 40]),
    left_out=st.integers(0, 5) | st.integers(20, 40),
)
async def test_a_trial_finds_what_judging_every_prefix_finds(
    writable: tuple[Pool[Record], Connection[Record]],
    steps: list[tuple[int, tuple[object, ...]]],
    tried: Rulebook,
    slice: int,
    range_events: int,
    sealed: int,
    left_out: int,
) -> None:
    pool, owner = writable
    await empty(owner)
    log = _written(steps)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(from_postgres, "RANGE_EVENTS", range_events)
        source, store = await _put(pool, log, sealed, Path(folder))
        upto = {shard: max(log.heads[shard] - (left_out if shard else 0), 0) for shard in range(4)}
        positions = [Position(Shard(shard), number) for shard, number in upto.items()]
        trial = await try_rulebook(pool, tried, positions, source=source, store=store, slice_votes=slice)
    in_force, other = await plain_trial(pool, tried, upto)
    assert _found({each.tool: each.in_force for each in trial.tools}) == in_force.found()
    assert _found({each.tool: each.tried for each in trial.tools}) == other.found()
    assert (trial.rulebook, trial.against) == (tried.digest, in_force.rulebook.digest)
    assert trial.events == sum(upto.values())


def _written(steps: list[tuple[int, tuple[object, ...]]]) -> WrittenLog:
    log = WrittenLog()
    for tool in TOOLS:
        log.list_tool(tool)
    log.retire(TOOLS[-1])
    for hours, (method, *arguments) in steps:
        log.wait(hours)
        getattr(log, str(method))(*arguments)
    return log


async def _put(pool: Pool[Record], log: WrittenLog, sealed: int, folder: Path) -> tuple[Source, Store | None]:
    """Half of the log sealed in segments of ``sealed`` events and the rest in Postgres; all in Postgres if 0."""
    if not sealed:
        await log.put(pool)
        return "postgres", None
    half = WrittenLog(rows=log.rows[: len(log.rows) // 2])
    await half.put(pool)
    await seal_all(pool, Store(folder), sealed)
    await log.put(pool, len(half.rows))
    return "segments", Store(folder)


def _found(tools: dict[int, ScenarioResult]) -> dict[int, tuple[str, object, list[FlipRow]]]:
    return {
        tool: (tried.label, tried.margin, [_flip_row(flip) for flip in tried.flips])
        for tool, tried in tools.items()
    }


def _flip_row(flip: Flip) -> FlipRow:
    order = flip.order
    return order.recorded_at, order.shard, order.number, flip.before, flip.after, flip.event, flip.rulebook
