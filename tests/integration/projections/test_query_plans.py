"""Query plans: the statements that run for every vote find their rows by index, in the one partition that has them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from domain.shared.log import Shard
from domain.verdicts.activity import WEIGHTS
from eventstore.as_of_positions import FIND_POSITIONS
from eventstore.decisions import READ_TOOL_HISTORY
from eventstore.tool_directory import FIND_TOOL
from projections import adoptions, bookmark_counts, catalogue, daily_votes, panel, rulebooks, scorecard
from projections.adoptions import ADOPTIONS
from projections.bookmark_counts import BOOKMARK_COUNTS
from projections.catalogue import CATALOGUE
from projections.daily_votes import DAILY_VOTES
from projections.engine.advance import advance, fold_statement
from projections.engine.projection import Projection
from projections.engine.registry import PROJECTIONS
from projections.engine.snapshot import READ_NEWEST_TIME
from projections.panel import PANEL
from projections.reads import diff, history
from projections.reads.as_of import USE_INDEXES, as_of
from projections.rulebooks import RULEBOOKS
from projections.scorecard import SCORECARD
from projections.tally import READ_TALLIES, TALLY
from services.resources import open_pool
from services.settings import Settings
from services.workers.run import FOLDING
from tests.integration.conftest import fresh_database
from tests.support.stage import Log

Plan = dict[str, Any]
FOLDED = [projection for projection in PROJECTIONS if projection.view is None]

BALLOTS = """
INSERT INTO standings (shard, kind, actor, tool, id, position, choice)
SELECT 1, 'v', gen_random_uuid(), n % 15, gen_random_uuid(), n, 'ship' FROM generate_series(1, 20000) AS n
"""
VOTES = """
INSERT INTO events (shard, position, recorded_at, type, tool, actor, id, origin, choice)
SELECT s, n, now(), 'VoteCast', n % 15, gen_random_uuid(), gen_random_uuid(), 'test', 'ship'
  FROM generate_series(1, 10000) AS n, generate_series(1, 3) AS s
"""
TAKES = """
INSERT INTO events (shard, position, recorded_at, type, tool, actor, id, origin, data)
SELECT 0, n, now(), 'TakePublished', n % 500, gen_random_uuid(), gen_random_uuid(), 'test', '{}'
  FROM generate_series(1, 10000) AS n
"""
SUMS = """
INSERT INTO read_models.tally (shard, tool, ship, skip) SELECT 1, n, 1, 1 FROM generate_series(1, 10000) AS n;
INSERT INTO read_models.daily_votes (shard, tool, day, ship, skip, casts)
SELECT 1, n, 20000, 1, 1, 2 FROM generate_series(1, 10000) AS n
"""

# Two thousand days of 20 more tools. Only votes of the last 33 days weigh in their recent activity.
DAYS = """
INSERT INTO read_models.daily_votes (shard, tool, day, ship, skip, casts)
SELECT 1, tool, day, 1, 1, 2
  FROM generate_series(20001, 20020) AS tool, generate_series(19001, 21000) AS day
"""

HEADS = "UPDATE heads SET position = 10000"

# An append of 100 new voters, and the rows that the transaction has read so far.
APPEND = """
SELECT count(*) FROM append_casts(1::smallint, array_fill('v'::text, '{100}'),
    array(SELECT gen_random_uuid() FROM generate_series(1, 100)), array_fill(3, '{100}'),
    array_fill('ship'::text, '{100}'), array(SELECT uuidv7() FROM generate_series(1, 100)),
    array_fill('test'::text, '{100}'))
"""
READ_SO_FAR = """
SELECT sum(seq_scan), sum(seq_tup_read), sum(idx_tup_fetch) FROM pg_stat_xact_user_tables
 WHERE relname IN ('standings', 'events_0')
"""


@pytest.fixture(scope="module")
async def log(postgres: Any, template: str) -> AsyncIterator[Log]:
    """Enough rows, with statistics, for the planner to choose a sequential scan if no index fits."""
    async with fresh_database(postgres, template, "plans") as settings:
        await _fill(settings)
        async with asyncpg.create_pool(
            settings.database_url, min_size=1, server_settings={"search_path": "public, read_models"}
        ) as pool:
            yield pool


async def _fill(settings: Settings) -> None:
    owner = await asyncpg.connect(settings.database_url)
    for statement in (BALLOTS, VOTES, TAKES, SUMS, DAYS, HEADS, "VACUUM ANALYZE"):
        await owner.execute(statement)
    await owner.close()


async def plan_of(log: Log, statement: str, *arguments: str, settings: str = "SELECT") -> list[Plan]:
    """The nodes of the generic plan, which the app's connections cache."""
    async with log.acquire() as conn, conn.transaction():
        await conn.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await conn.execute(settings)
        await conn.execute(f"PREPARE kept AS {statement}")
        given = f"({', '.join(arguments)})" if arguments else ""
        [row] = await conn.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE kept {given}")
        await conn.execute("DEALLOCATE kept")
        return list(_nodes(json.loads(row[0])[0]["Plan"]))


def _nodes(plan: Plan) -> list[Plan]:
    return [plan, *(node for each in plan.get("Plans", []) for node in _nodes(each))]


def indexes_on(plan: list[Plan]) -> set[str]:
    return {node["Index Name"] for node in plan if "Index Name" in node}


def seq_scanned(plan: list[Plan]) -> set[str]:
    """Without the partition that is created ahead of the log, which is empty."""
    return {node["Relation Name"] for node in plan if node["Node Type"] == "Seq Scan"} - {"events_1"}


def rows_read(plan: list[Plan]) -> int:
    """The rows of the log that scans fetched, including those that filters removed."""
    return sum(
        round(node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)))
        for node in plan
        if node.get("Relation Name", "").startswith("events_")
    )


async def test_an_append_planned_on_empty_tables_reads_no_more_on_full_ones(
    postgres: Any, template: str
) -> None:
    """One connection from the first vote on, as in a server; the tables grow and statistics are not updated."""
    async with fresh_database(postgres, template, "grown") as settings:
        owner = await asyncpg.connect(settings.database_url)
        await owner.fetchval(APPEND)
        await owner.execute(BALLOTS)
        await owner.execute(VOTES.replace("generate_series(1, 10000)", "generate_series(101, 10000)"))
        await owner.execute("UPDATE heads SET position = 10000 WHERE shard = 1")
        async with owner.transaction():
            before = await owner.fetchrow(READ_SO_FAR)
            await owner.fetchval(APPEND)
            assert await owner.fetchrow(READ_SO_FAR) == before
        await owner.close()


async def test_an_advance_reads_its_range_by_position(log: Log) -> None:
    plan = await plan_of(log, fold_statement(FOLDED), "1", "9990", "10000", "'{}'")
    assert seq_scanned(plan) <= {"checkpoints"}  # all of it is one page
    assert {name for name in indexes_on(plan) if name.startswith("events")} <= {
        "events_0_pkey",
        "events_1_pkey",
    }


async def test_an_advance_opens_the_partition_of_its_range_only(log: Log) -> None:
    plan = await plan_of(log, fold_statement(FOLDED), "1", "9980", "9990", "'{}'")
    opened = {node["Relation Name"] for node in plan if node.get("Relation Name", "").startswith("events")}
    assert opened == {"events_0"}


async def test_an_advance_planned_on_an_empty_log_reads_only_its_range_of_a_full_one(
    postgres: Any, template: str
) -> None:
    """One connection from the first vote on, as in a worker."""
    async with (
        fresh_database(postgres, template, "grown") as settings,
        await open_pool(settings, session=FOLDING, size=1) as worker,
    ):
        owner = await asyncpg.connect(settings.database_url)
        await owner.fetchval(APPEND)
        await advance(worker, PROJECTIONS, Shard(1))
        await owner.execute(VOTES.replace("generate_series(1, 10000)", "generate_series(101, 10000)"))
        await owner.execute("UPDATE heads SET position = 10000; UPDATE checkpoints SET position = 9990")
        await owner.close()
        before = await _read_by(worker)
        await advance(worker, PROJECTIONS, Shard(1))
        seq_scans, fetched = (
            after - then for after, then in zip(await _read_by(worker), before, strict=True)
        )
        assert (seq_scans, fetched) == (0, 10)


async def _read_by(worker: Log) -> tuple[int, int]:
    """(sequential scans of the log, rows fetched from it by index) of the worker's connection so far."""
    async with worker.acquire() as conn:
        await conn.execute("SELECT pg_stat_force_next_flush()")
        row = await conn.fetchrow(
            "SELECT sum(seq_scan)::bigint, sum(idx_tup_fetch)::bigint FROM pg_stat_user_tables WHERE relname LIKE 'events_%'"
        )
    assert row is not None
    return row[0], row[1]


async def test_the_history_of_a_tool_is_found_by_tool(log: Log) -> None:
    plan = await plan_of(log, READ_TOOL_HISTORY, "0", "7")
    assert seq_scanned(plan) == set()
    assert any(
        "shard_tool_position" in name or "editorial_events_by_tool" in name for name in indexes_on(plan)
    )


async def test_a_slug_is_found_without_reading_the_log(log: Log) -> None:
    assert not {
        name
        for name in seq_scanned(await plan_of(log, FIND_TOOL, "'quill'", "0"))
        if name.startswith("events")
    }


@pytest.mark.parametrize(
    ("projection", "query"),
    [
        (TALLY, READ_TALLIES),
        (DAILY_VOTES, daily_votes.READ_DAYS),
        (BOOKMARK_COUNTS, bookmark_counts.READ_BOOKMARK_COUNTS),
    ],
    ids=["tally", "days", "bookmarks"],
)
async def test_a_past_tally_reads_blocks_and_the_events_after_them(
    log: Log, projection: Projection, query: str
) -> None:
    plan = await plan_of(
        log, as_of(projection, query, 2), "'{3}'", "'{0,1,2}'", "'{10,10,9000}'", settings=USE_INDEXES
    )
    assert seq_scanned(plan) == set()
    assert {name for name in indexes_on(plan) if name.startswith("events")} <= {
        "events_0_pkey",
        "events_1_pkey",
    }
    assert any(name.startswith("block_") for name in indexes_on(plan))
    assert 9_000 <= rows_read(plan) <= 9_040


@pytest.mark.parametrize(
    ("projection", "query"),
    [(CATALOGUE, catalogue.READ_ENTRIES), (SCORECARD, scorecard.READ_TAKES)],
    ids=["catalogue", "scorecard"],
)
async def test_a_past_read_of_a_tool_reads_only_its_events(
    log: Log, projection: Projection, query: str
) -> None:
    plan = await plan_of(
        log, as_of(projection, query, 2), "'{7}'", "'{0,1,2}'", "'{4000,10,9000}'", settings=USE_INDEXES
    )
    assert seq_scanned(plan) == set()
    assert rows_read(plan) == 8


@pytest.mark.parametrize(
    ("projection", "query", "arguments"),
    [
        (PANEL, panel.READ_PANEL, ()),
        (RULEBOOKS, rulebooks.FIND_RULEBOOK, ("'mine'",)),
        (ADOPTIONS, adoptions.READ_DIGEST_IN_FORCE, ()),
        (ADOPTIONS, adoptions.READ_ADOPTIONS, ()),
    ],
    ids=["panel", "rulebook", "in force", "adoptions"],
)
async def test_a_past_editorial_read_reads_only_its_events(
    log: Log, projection: Projection, query: str, arguments: tuple[str, ...]
) -> None:
    statement = as_of(projection, query, len(arguments) + 1)
    plan = await plan_of(log, statement, *arguments, "'{0,1,2}'", "'{4000,10,9000}'", settings=USE_INDEXES)
    assert seq_scanned(plan) == set()
    assert rows_read(plan) == 0


async def test_a_moment_is_found_by_halving(log: Log) -> None:
    plan = await plan_of(log, FIND_POSITIONS, "now()", "1", "5", settings=USE_INDEXES)
    assert seq_scanned(plan) <= {"heads"}
    assert rows_read(plan) <= 4 * 15


@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        (diff.READ_CHANGED_TOOLS, ("0", "20")),
        (diff.READ_VOTE_SPANS, ("'{3,4}'",)),
        (diff.READ_EDITORIAL_EVENTS, ()),
    ],
    ids=["tools", "votes", "editorial events"],
)
async def test_a_diff_reads_between_its_moments(log: Log, query: str, arguments: tuple[str, ...]) -> None:
    span = ("'{0,1,2}'", "'{3000,1000,2000}'", "'{4000,1100,2050}'") if arguments else ("3000", "4000", "50")
    plan = await plan_of(log, query, *span, *arguments, settings=USE_INDEXES)
    assert seq_scanned(plan) == set()
    assert rows_read(plan) <= 2 * 1_000 + 4 * 150


async def test_the_ends_of_a_history_are_found_by_halving(log: Log) -> None:
    plan = await plan_of(log, history.FIND_LAST_BEFORE, "now()", "'hourly_tally'", settings=USE_INDEXES)
    assert seq_scanned(plan) == set()
    assert rows_read(plan) <= 4 * 15


async def test_the_votes_at_the_ends_of_a_history_are_read_by_position(log: Log) -> None:
    span = ("'{0,1,2}'", "'{3000,1000,2000}'", "'{3000,1100,2050}'")
    plan = await plan_of(log, history.SUM_BETWEEN, *span, "3", settings=USE_INDEXES)
    assert seq_scanned(plan) == set()
    assert 140 <= rows_read(plan) <= 150


async def test_the_whole_hours_of_a_history_are_read_from_the_hourly_tally_alone(log: Log) -> None:
    times = ("now() - interval '1 day'", "now()")
    plan = await plan_of(log, history.READ_HOURS, "3", "'hour'", *times, settings=USE_INDEXES)
    assert {node["Relation Name"] for node in plan if "Relation Name" in node} == {"hourly_tally"}
    assert seq_scanned(plan) == set()


@pytest.mark.parametrize(
    ("query", "key"), [(READ_TALLIES, "tally_pkey"), (daily_votes.READ_DAYS, "daily_votes_pkey")]
)
async def test_tallies_are_found_by_tool(log: Log, query: str, key: str) -> None:
    """The key begins with the shard, of which there are few."""
    plan = await plan_of(log, query, "'{3}'")
    assert indexes_on(plan) == {key}
    assert seq_scanned(plan) == set()


async def test_recent_activity_is_found_by_day(log: Log) -> None:
    """A generic plan still reads only the days with a weight."""
    weights = f"'{{{','.join(map(str, WEIGHTS))}}}'"
    plan = await plan_of(log, daily_votes.READ_RECENT_ACTIVITY, "21000", weights, "2", "28")
    assert seq_scanned(plan) == set()
    assert indexes_on(plan) == {"daily_votes_day_idx"}
    assert plan[0]["Actual Rows"] == 20
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in plan if "Index Name" in node) == 20 * 33


async def test_the_newest_event_is_found_by_position(log: Log) -> None:
    plan = await plan_of(log, READ_NEWEST_TIME, "'{0,1,2}'", "'{4000,10,9000}'")
    assert seq_scanned(plan) == set()
    assert rows_read(plan) == 3
