"""Trials on a large log: three years of votes and takes, tried under every preset, from Postgres and from segments."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import uvloop
from asyncpg import Pool, Record
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from domain.rulebooks.presets import PRESETS
from domain.shared.log import Position, Shard
from domain.timeline.trials import Trial, total
from eventstore.heads import read_heads
from eventstore.sealed.seal import SealPlan, find_due_segments, seal
from eventstore.sealed.store import Store
from projections.engine.advance import advance, shards_behind
from projections.tally import TALLY
from projections.trials.run import Source, try_rulebook
from services.cli.commands.migrate import migrate_database
from services.embedded.postgres import Postgres
from services.resources import open_pool
from services.settings import Settings

TOOLS, SHARDS, BATCH_VOTES = 1_000, 2, 100_000

# Pseudo-random functions of a number. The shares of ship lie within 0.2..0.8, those of every tenth tool at 0.5.
CREATE_FUNCTIONS = """
CREATE FUNCTION pg_temp.u(n bigint, seed bigint) RETURNS double precision IMMUTABLE PARALLEL SAFE LANGUAGE sql
    RETURN (hashint8extended(n, seed) & 1048575) / 1048576.0::double precision;
CREATE FUNCTION pg_temp.tool(n bigint) RETURNS integer IMMUTABLE LANGUAGE sql
    RETURN 1 + floor($tools * pg_temp.u(n, 1) * pg_temp.u(n, 2))::integer;
CREATE FUNCTION pg_temp.share(tool integer) RETURNS double precision IMMUTABLE LANGUAGE sql
    RETURN CASE WHEN tool % 10 = 0 THEN 0.5 ELSE 0.2 + 0.6 * pg_temp.u(tool, 3) END;
CREATE FUNCTION pg_temp.choice(n bigint) RETURNS text IMMUTABLE LANGUAGE sql
    RETURN CASE WHEN pg_temp.u(n, 4) < pg_temp.share(pg_temp.tool(n)) THEN 'ship' ELSE 'skip' END;
CREATE FUNCTION pg_temp.at(n bigint, votes bigint) RETURNS timestamptz IMMUTABLE LANGUAGE sql
    RETURN timestamptz '2023-01-01 00:00:00+00' + n * (interval '1095 days' / votes);
"""
# The votes $2 to $3 of shard $1; $4 votes alternate between $5 shards. Every twentieth changes or retracts a vote that was
# cast 1,000, 40,000 or 1,000,000 votes earlier, each of them once.
FILL_VOTES = """
WITH numbered AS (
    SELECT n, n * $5::bigint + $1 AS k,
           CASE WHEN n % 20 = 19 THEN n - 1 - (n / 20) % 3 - (ARRAY[500, 20000, 500000])[1 + (n / 20) % 3] END AS before
      FROM generate_series($2::bigint, $3::bigint) AS n
), aimed AS (
    SELECT n, k, CASE WHEN before > 0 THEN before * $5 + $1 END AS before FROM numbered
)
INSERT INTO events (position, recorded_at, actor, id, tool, shard, type, choice, replaced, origin, replaced_at)
SELECT n, pg_temp.at(k, $4), CAST(md5(CAST(coalesce(before, k) AS text)) AS uuid), uuidv7(),
       pg_temp.tool(coalesce(before, k)), $1,
       CASE WHEN before IS NOT NULL AND n % 100 = 99 THEN 'VoteRetracted' ELSE 'VoteCast' END,
       CASE WHEN before IS NULL THEN pg_temp.choice(k) WHEN n % 100 = 99 THEN NULL
            WHEN pg_temp.choice(before) = 'ship' THEN 'skip' ELSE 'ship' END,
       CASE WHEN before IS NOT NULL THEN pg_temp.choice(before) END, 'k1',
       CASE WHEN before IS NOT NULL THEN pg_temp.at(before, $4) END
  FROM aimed
"""
# Seven reviewers publish a take of every tool within the first year, and revise it twice. Scores follow a bias of the tool.
FILL_EDITORIAL = """
WITH tools AS (
    SELECT n AS tool, NULL AS reviewer, NULL AS take, timestamptz '2022-12-31 00:00:00+00' AS at
      FROM generate_series(1, $1::integer) AS n
), takes AS (
    SELECT tool, 'reviewer-' || reviewer AS reviewer, take, reviewer * 1000003 + tool * 7919 + take AS k
      FROM generate_series(1, $1::integer) AS tool, generate_series(1, 7) AS reviewer, generate_series(1, 3) AS take
), timed AS (
    SELECT tool, reviewer, take,
           timestamptz '2023-01-01 00:00:00+00' + (take - 1 + pg_temp.u(k, 5)) * interval '365 days' AS at,
           least(100, greatest(0, floor(100 * (0.25 + 0.75 * pg_temp.u(tool, 6)) + 50 * (pg_temp.u(k, 7) - 0.5))))::integer AS score
      FROM takes
), editorial AS (
    SELECT row_number() OVER (ORDER BY at, tool) AS position, *
      FROM (SELECT *, NULL::integer AS score FROM tools UNION ALL
            SELECT tool, reviewer, take::text, at, score FROM timed) AS every
)
INSERT INTO events (position, recorded_at, actor, id, tool, shard, type, choice, origin, data)
SELECT position, at, CAST(md5('') AS uuid), uuidv7(), tool, 0,
       CASE WHEN take IS NULL THEN 'ToolListed' ELSE 'TakePublished' END,
       CASE WHEN take IS NOT NULL THEN CASE WHEN score >= 60 THEN 'ship' ELSE 'skip' END END, 'bench',
       CASE WHEN take IS NULL THEN jsonb_build_object('type', 'ToolListed', 'slug', 'tool-' || tool, 'revision', 1,
                'details', jsonb_build_object('name', 'Tool', 'category', jsonb_build_object('slug', 'any', 'name', 'Any'),
                                              'pricing', jsonb_build_object('entry', 'Free')))
            ELSE jsonb_build_object('type', 'TakePublished', 'reviewer', reviewer, 'revision', take::integer, 'score', score,
                'choice', CASE WHEN score >= 60 THEN 'ship' ELSE 'skip' END, 'text', repeat('Said again. ', 20)) END
  FROM editorial
"""
MOVE_HEADS = """
UPDATE heads AS h SET position = e.position, recorded_at = e.recorded_at
  FROM (SELECT shard, max(position) AS position, max(recorded_at) AS recorded_at FROM events GROUP BY shard) AS e
 WHERE h.shard = e.shard
"""
EXTEND = "SELECT extend_events($1 + 4194304)"
SOURCES: tuple[Source, ...] = ("postgres", "segments")


async def main(size: int, runs: int, data: Path | None, only: list[str]) -> None:
    with ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shiplog-bench-")))
        postgres = Postgres.start(folder / "data")
        stack.callback(postgres.stop, "immediate" if data is None else "fast")
        settings = Settings(
            database_url=postgres.url("postgres"), secret=b"of a benchmark, and of nothing else"
        )
        await migrate_database(settings, SHARDS)
        await _fill(settings.database_url, size)
        async with await open_pool(settings, session={"statement_timeout": "0"}) as pool:
            store = Store(folder / "segments")
            for segment in await find_due_segments(pool, store, SealPlan(behind=0, short=True)):
                await seal(pool, store, segment)
            await _fold_tally(pool)
            await _report(pool, store, runs, only)


async def _fold_tally(pool: Pool[Record]) -> None:
    """As workers do: a trial does not check what the tally has folded."""
    for shard in await shards_behind(pool):
        while (moved := await advance(pool, [TALLY], shard, batch=500_000)) and moved.events:
            pass


async def _report(pool: Pool[Record], store: Store, runs: int, only: list[str]) -> None:
    heads = await read_heads(pool)
    positions = [Position(Shard(shard), head) for shard, head in heads.items()]
    table = Table(
        "rulebook", *(f"{source}, s" for source in SOURCES), "flip now", "flips", "rank moves", "disagree"
    )
    for name in only or list(PRESETS):
        times, trials = [], list[Trial]()
        for source in SOURCES:
            each = [await _timed(pool, store, name, positions, source, trials) for _ in range(runs)]
            times.append(f"{statistics.median(each):.1f}")
        assert all(trial == trials[0] for trial in trials), name
        totals = total(trials[0])
        counts = (totals.flips_now, totals.flips, totals.rank_moves, totals.disagreements)
        table.add_row(name, *times, *(f"{count:,}" for count in counts))
    table.title = f"{sum(heads.values()):,} events, {heads[0]:,} of them editorial; medians of {runs} runs"
    Console(width=120).print(table, highlight=False)


async def _timed(
    pool: Pool[Record],
    store: Store,
    name: str,
    positions: list[Position],
    source: Source,
    trials: list[Trial],
) -> float:
    started = time.perf_counter()
    trials.append(await try_rulebook(pool, PRESETS[name], positions, source=source, store=store))
    return time.perf_counter() - started


async def _fill(url: str, size: int) -> None:
    conn = await asyncpg.connect(url)
    if not await conn.fetchval("SELECT position FROM heads WHERE shard = 0"):
        await conn.execute(EXTEND.replace("$1", str(size // SHARDS)))
        await conn.execute(CREATE_FUNCTIONS.replace("$tools", str(TOOLS)))
        await conn.execute(FILL_EDITORIAL, TOOLS)
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("filling", total=size)
            await asyncio.gather(
                *(
                    _fill_shard(url, shard, size, lambda: progress.advance(task, BATCH_VOTES))
                    for shard in range(1, SHARDS + 1)
                )
            )
        await conn.execute(MOVE_HEADS)
        await conn.execute("VACUUM ANALYZE")
        await conn.execute("CHECKPOINT")
    await conn.close()


async def _fill_shard(url: str, shard: int, size: int, advance: Callable[[], None]) -> None:
    conn = await asyncpg.connect(url)
    await conn.execute(CREATE_FUNCTIONS.replace("$tools", str(TOOLS)))
    last = size // SHARDS
    for first in range(1, last + 1, BATCH_VOTES):
        await conn.execute(FILL_VOTES, shard, first, min(first + BATCH_VOTES - 1, last), size, SHARDS)
        advance()
    await conn.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.trial", description=__doc__)
    parser.add_argument("--size", type=int, default=10_000_000, help="votes")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--data", type=Path, help="keep the log in this folder, or use the one there")
    parser.add_argument("--only", nargs="*", default=[], help="only these presets")
    options = parser.parse_args()
    uvloop.run(main(options.size, options.runs, options.data, options.only))
