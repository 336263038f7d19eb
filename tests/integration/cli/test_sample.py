"""The sample: months of decisions and votes, the same whenever they are loaded."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from services.cli.sample.catalogue import read_catalogue
from services.cli.sample.load import load_sample
from services.cli.sample.votes import sample_casts
from services.settings import Settings
from tests.support.stage import Log, catch_up

READ_TALLIES = """
SELECT s.slug, sum(t.ship)::int AS ship, sum(t.skip)::int AS skip FROM tally AS t JOIN slugs AS s USING (tool) GROUP BY s.slug
"""
READ_SPAN = (
    "SELECT min(recorded_at), max(recorded_at), clock_timestamp(), array_agg(DISTINCT origin) FROM events"
)
WITHOUT_VOTES = {"neovim", "aider"}


def test_the_sample_is_the_same_every_time() -> None:
    tools = read_catalogue().tools
    casts = sample_casts(tools)
    assert casts == sample_casts(tools)
    assert len(casts) > 10_000
    assert [cast.age for cast in casts] == sorted((cast.age for cast in casts), reverse=True)
    listed = {tool.slug: timedelta(days=tool.listed) for tool in tools}
    assert all(timedelta(0) < cast.age < listed[cast.tool] for cast in casts)


async def test_the_sample_has_months_of_votes_and_all_of_them_count(settings: Settings, pool: Log) -> None:
    assert await load_sample(settings, pool)
    await catch_up(pool)
    first, last, now, origins = await pool.fetchrow(READ_SPAN)  # type: ignore[misc]
    assert now - first > timedelta(days=180)
    assert now - last < timedelta(days=1)
    assert origins == ["sample"]
    assert {
        row["slug"]: (row["ship"], row["skip"]) for row in await pool.fetch(READ_TALLIES)
    } == plain_tallies()


async def test_the_sample_goes_into_an_empty_log_alone(settings: Settings, pool: Log) -> None:
    assert await load_sample(settings, pool, with_votes=False)
    before = await pool.fetch("SELECT * FROM heads ORDER BY shard")
    assert not await load_sample(settings, pool)
    assert await pool.fetch("SELECT * FROM heads ORDER BY shard") == before


def plain_tallies() -> dict[str, tuple[int, int]]:
    """Each voter's last choice."""
    standing: dict[tuple[str, int], Any] = {}
    for cast in sample_casts(read_catalogue().tools):
        if cast.kind == "v":
            standing[cast.tool, cast.voter] = cast.choice
    counts = Counter((tool, choice) for (tool, _), choice in standing.items())
    tools = {tool for tool, _ in counts}
    assert not tools & WITHOUT_VOTES
    return {tool: (counts[tool, "ship"], counts[tool, "skip"]) for tool in tools}
