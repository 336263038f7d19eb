"""Query plans of flips: a piece is found by halving and read by position, and no list reads the whole flip log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from projections.flips.batches import PIECE, STOP, UNCOUNTED
from projections.flips.reads import NEWEST, NEWEST_OF_TOOL, SINCE, TELL
from projections.flips.store import AFTER
from projections.flips.votes import COUNT, DATE, VOTES
from tests.integration.projections.test_query_plans import (
    _fill,
    asyncpg,
    fresh_database,
    indexes_on,
    plan_of,
    rows_read,
    seq_scanned,
)
from tests.support.stage import Log

FLIPS = """
INSERT INTO flips (shard, recorded_at, cause_shard, cause_position, tool, event, before, after, rulebook)
SELECT 0, timestamptz '2026-01-01' + n * interval '1 minute', 1, n, n % 50, 'VoteCast', 'Ship', 'Skip', 'sha256:'
  FROM generate_series(1, 20000) AS n
"""
FRONTIER = "UPDATE flips_frontier SET position = 9900, counted = 9900, dated = 9900, recorded_at = now()"
USE_INDEXES = "SET LOCAL enable_seqscan = off"  # as the worker's sessions have it
SPAN = ("'{0,1,2}'", "'{9900,9900,9900}'", "'{10000,9950,9950}'")
AT, END = ("'2026-01-10'", "1", "0"), ("'2026-02-01'", "3", "0")


@pytest.fixture(scope="module")
async def log(postgres: Any, template: str) -> AsyncIterator[Log]:
    async with fresh_database(postgres, template, "flip_plans") as settings:
        await _fill(settings)
        async with asyncpg.create_pool(
            settings.database_url, min_size=1, server_settings={"search_path": "public, read_models"}
        ) as pool:
            for statement in (FLIPS, FRONTIER, "VACUUM ANALYZE read_models.flips"):
                await pool.execute(statement)
            yield pool


async def test_a_piece_is_found_by_halving(log: Log) -> None:
    plan = await plan_of(log, PIECE, "'{0,1,2}'", "'{10000,10000,10000}'", "50", *END, settings=USE_INDEXES)
    assert seq_scanned(plan) == set()
    assert rows_read(plan) <= 3 + 50 + 3 * 8  # the ends, the house's part, and the halves


@pytest.mark.parametrize(
    ("query", "more", "most"),
    [
        (COUNT, (), 200),
        (DATE, (), 400),
        (VOTES, ("'{3}'",), 200),
        (STOP, ("'{VoteCast}'", "'{VoteCast}'"), 210),
    ],
    ids=["count", "date", "votes", "stop"],
)
async def test_a_span_is_read_by_position(log: Log, query: str, more: tuple[str, ...], most: int) -> None:
    plan = await plan_of(log, query, *SPAN, *more, settings=USE_INDEXES)
    assert seq_scanned(plan) == set()
    assert rows_read(plan) <= most


async def test_what_is_not_counted_is_known_without_the_log(log: Log) -> None:
    plan = await plan_of(log, UNCOUNTED, "'{1}'", "'{10000}'", "10", settings=USE_INDEXES)
    assert rows_read(plan) == 0


@pytest.mark.parametrize(
    ("query", "arguments", "index"),
    [
        (AFTER, (*AT, "20"), "flips_pkey"),
        (NEWEST, (*AT, *END, "5", "20"), "flips_pkey"),
        (
            NEWEST_OF_TOOL,
            (*AT, *END, "20", "3"),
            "flips_shard_tool_recorded_at_cause_shard_cause_position_idx",
        ),
        (
            SINCE,
            ("'{3,4}'", "'{2026-01-10,2026-01-11}'", "'{1,1}'", "'{0,0}'", "20"),
            "flips_shard_tool_recorded_at_cause_shard_cause_position_idx",
        ),
    ],
    ids=["after", "newest", "of a tool", "since"],
)
async def test_a_list_of_flips_reads_what_it_shows(
    log: Log, query: str, arguments: tuple[str, ...], index: str
) -> None:
    plan = await plan_of(log, query, *arguments)
    assert indexes_on(plan) == {index}
    assert (
        sum(round(node["Actual Rows"] * node["Actual Loops"]) for node in plan if "Index Name" in node) <= 41
    )


async def test_causes_are_found_by_key(log: Log) -> None:
    plan = await plan_of(log, TELL, "'{3}'", "'{1}'", "'{9950}'", "'{any}'", settings=USE_INDEXES)
    assert rows_read(plan) <= 1
