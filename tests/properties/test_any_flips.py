"""The flip log equals judging every prefix of the log, for any batch sizes and workers, live and from the start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from itertools import cycle
from uuid import UUID

import pytest
from asyncpg import Pool, Record
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from domain.rulebooks.presets import PRESETS
from domain.rulebooks.rulebook import Community, Panel, Rulebook, normalize
from domain.timeline.flips import Flip
from projections.flips.advance import advance_flips
from projections.flips.store import begin, flips_after
from services.embedded.postgres import Postgres
from services.resources import open_pool
from services.settings import Settings
from tests.integration.conftest import fresh_database
from tests.support.histories import Row, Writer, append, empty, flips_of

SHARDS, VOTERS, TOOLS, REVIEWERS = 3, 7, 3, ("builder", "founder", "skeptic")
choices = st.sampled_from(["ship", "skip"])
communities = st.builds(
    Community,
    weight=st.integers(0, 3),
    minimum=st.integers(1, 4),
    bound=st.sampled_from(["share", "interval"]),
    z=st.sampled_from(["0.3", "1", "1.96"]),
    half_life_days=st.sampled_from([None, None, 7, 30]),
    window_days=st.sampled_from([None, None, 1, 3, 20]),
    veto_below=st.sampled_from([None, "2/5", "3/4"]),
)
panels = st.builds(
    Panel,
    weight=st.integers(1, 2),
    quorum=st.integers(1, 2),
    counts=st.sampled_from(["choices", "scores"]),
    weights=st.dictionaries(st.sampled_from(REVIEWERS), st.integers(0, 3), max_size=2),
)
rulebooks = st.sampled_from(list(PRESETS.values())) | st.builds(
    Rulebook,
    name=st.just("tried"),
    ship=st.sampled_from([">1/2", ">=1/2", ">=3/5"]),
    skip=st.sampled_from(["<1/2", "<=2/5", "<1/4"]),
    between=st.sampled_from(["Split", "Ship", "Skip"]),
    panel=panels,
    community=communities,
).map(normalize)
voters = st.integers(0, VOTERS - 1)
tools = st.integers(1, TOOLS)
votes = st.tuples(st.just("vote"), voters, tools, st.sampled_from(["ship", "ship", "skip", "skip", None]))
steps = st.one_of(
    votes,
    votes,
    votes,
    votes,
    st.tuples(st.just("wait"), st.sampled_from([1, 3_600, 86_400, 20 * 86_400])),
    st.tuples(st.just("take"), tools, st.sampled_from(REVIEWERS), st.integers(0, 100) | st.none(), choices),
    st.tuples(st.just("adopt"), rulebooks),
    st.tuples(st.just("panel"), st.sampled_from(REVIEWERS), st.booleans()),
)
# Long enough for votes to flip verdicts, some of them under a rulebook adopted at the start.
histories = st.builds(
    lambda book, steps: [("adopt", book), *steps], rulebooks, st.lists(steps, min_size=30, max_size=120)
) | st.lists(steps, min_size=1, max_size=20)
batches = st.lists(st.integers(1, 40), min_size=1, max_size=5)


@pytest.fixture(scope="module")
async def log(postgres: Postgres, template: str) -> AsyncIterator[tuple[Pool[Record], Settings]]:
    async with (
        fresh_database(postgres, template, "flips") as settings,
        await open_pool(settings, size=6) as pool,
    ):
        yield pool, settings


def written(history: Sequence[tuple[object, ...]]) -> list[Row]:
    writer = Writer()
    for step, *args in history:
        match step:
            case "wait":
                writer.wait(timedelta(seconds=args[0]))  # type: ignore[arg-type]
            case "vote":
                voter, tool, choice = args
                writer.vote(1 + voter % SHARDS, UUID(int=1 + voter), tool, choice)  # type: ignore[arg-type, operator]
            case "take":
                writer.take(*args)  # type: ignore[arg-type]
            case "panel":
                writer.panel(*args)  # type: ignore[arg-type]
            case "adopt":
                writer.adopt(*args)  # type: ignore[arg-type]
    return writer.rows


async def fold(log: Pool[Record], batch: int) -> None:
    while await advance_flips(log, batch_events=batch) is not None:
        pass


async def start_again(log: Pool[Record]) -> None:
    async with log.acquire() as conn, conn.transaction():
        await begin(conn)


async def found(log: Pool[Record]) -> list[Flip]:
    return await flips_after(log, None, 100_000)


@examples(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories, batches=batches, ends=st.sets(st.integers(1, 120), max_size=6))
async def test_flips_are_those_of_judging_every_prefix(
    log: tuple[Pool[Record], Settings], history: list[tuple[object, ...]], batches: list[int], ends: set[int]
) -> None:
    pool, settings = log
    await empty(settings.database_url)
    await start_again(pool)
    rows, sizes = written(history), cycle(batches)
    expected = flips_of(rows)

    before = 0
    for end in [*sorted(end for end in ends if end < len(rows)), len(rows)]:
        if end < len(rows) and rows[end].order.recorded_at == rows[end - 1].order.recorded_at:
            continue  # an event appended with the time of one already folded is late
        await append(pool, rows[before:end])
        await fold(pool, next(sizes))
        before = end
    assert await found(pool) == expected

    await start_again(pool)
    await asyncio.gather(*(fold(pool, size) for size in batches))
    await fold(pool, 100_000)
    assert await found(pool) == expected
