"""Sealed history: the speed of sealing, bytes per vote, and the speed of folds in DuckDB and in Postgres."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import uvloop
from asyncpg import Pool, Record
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from domain.shared.log import Shard
from eventstore.heads import read_heads
from eventstore.sealed.manifest import Segment
from eventstore.sealed.seal import SealPlan, find_due_segments, seal
from eventstore.sealed.store import Store
from projections.engine.projection import RANGE
from projections.replays.sealed_fold import column_list, fold_segments
from projections.tally import TALLY
from services.cli.commands.migrate import migrate_database
from services.embedded.postgres import Postgres
from services.resources import open_pool
from services.settings import Settings

BATCH = 5_000
# Ids are UUIDv7 with 74 random bits, as clients make them. A voter of shard 1 casts about ten votes within 100,000 votes of
# others, like a visit on a busy site; a voter of shard 2 casts one.
APPEND_VOTES = """
WITH made AS (
    SELECT DISTINCT ON (actor, tool) *
      FROM (SELECT CASE WHEN $1 = 1 THEN CAST(md5(CAST(CAST(($3 + n + random() * 100000) / 10 AS bigint) AS text)) AS uuid)
                        ELSE gen_random_uuid() END AS actor,
                   1 + CAST(200 * random() * random() AS integer) AS tool,
                   CASE WHEN random() < 0.6 THEN 'ship' ELSE 'skip' END AS choice,
                   CAST(left(CAST(uuidv7() AS text), 15) || substr(CAST(gen_random_uuid() AS text), 16) AS uuid) AS id
              FROM generate_series(1, $2::integer) AS n) AS every
), grouped AS (
    SELECT CAST(count(*) AS integer) AS many, array_agg(actor ORDER BY id) AS actors, array_agg(tool ORDER BY id) AS tools,
           array_agg(choice ORDER BY id) AS choices, array_agg(id ORDER BY id) AS ids FROM made
)
SELECT count(*) FROM grouped, LATERAL append_casts($1::smallint, array_fill('v'::text, ARRAY[many]),
    actors, tools, choices, ids, array_fill('k1'::text, ARRAY[many]))
"""
KINDS = {Shard(1): "ten votes per voter", Shard(2): "one vote per voter"}
EXTEND_PARTITIONS = "SELECT extend_events(max(position) + 4194304) FROM heads"
FOLD_TALLY = f"WITH {RANGE} SELECT {column_list(TALLY)} FROM ({TALLY.fold_select}) AS folded"


async def main(size: int, runs: int) -> None:
    with tempfile.TemporaryDirectory(prefix="shiplog-bench-") as folder:
        postgres = Postgres.start(Path(folder) / "data")
        settings = Settings(
            database_url=postgres.url("postgres"), secret=b"the secret of a benchmark, 32 bytes"
        )
        try:
            await migrate_database(settings, len(KINDS))
            await _fill(settings.database_url, size)
            session = {"statement_timeout": "0", "enable_seqscan": "off"}
            async with await open_pool(settings, session=session) as pool:
                await _report(pool, Store(Path(folder) / "segments"), runs)
        finally:
            postgres.stop("immediate")


async def _report(pool: Pool[Record], store: Store, runs: int) -> None:
    plan = SealPlan(behind=0, short=True)
    rates = [await _seal_rate(pool, store, segment) for segment in await find_due_segments(pool, store, plan)]
    heads = await read_heads(pool)
    events = sum(heads[shard] for shard in KINDS)

    async def in_postgres() -> None:
        for shard in KINDS:
            await pool.fetch(FOLD_TALLY, shard, 0, heads[shard])

    table = Table("measurement", "value", title=f"{events:,} votes in {len(rates)} segments")
    table.add_row("seal, events per second (median of segments)", f"{statistics.median(rates):,.0f}")
    for shard, kind in KINDS.items():
        table.add_row(f"bytes per vote, {kind}", f"{_bytes(store, shard) / heads[shard]:.2f}")
    first = await _rate(events, lambda: fold_segments(store, TALLY))
    table.add_row("tally, DuckDB, first fold with checksums, events per second", f"{first:,.0f}")
    for name, fold in {
        "DuckDB, 2 threads": lambda: fold_segments(store, TALLY),
        "Postgres": in_postgres,
    }.items():
        each = [await _rate(events, fold) for _ in range(runs)]
        table.add_row(
            f"tally, {name}, events per second (median of {runs})", f"{statistics.median(each):,.0f}"
        )
    Console(width=120).print(table, highlight=False)


async def _seal_rate(pool: Pool[Record], store: Store, segment: Segment) -> float:
    return await _rate(segment.count, lambda: seal(pool, store, segment))


async def _rate(events: int, work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work()
    return events / (time.perf_counter() - started)


def _bytes(store: Store, shard: Shard) -> int:
    return sum(store.path(segment).stat().st_size for segment in store.segments(shard))


async def _fill(url: str, size: int) -> None:
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("filling", total=size)
        each = size // len(KINDS)
        await asyncio.gather(*(_fill_shard(url, shard, each, progress, task) for shard in KINDS))
    conn = await asyncpg.connect(url)
    await conn.execute("VACUUM ANALYZE")
    await conn.execute("CHECKPOINT")
    await conn.close()


async def _fill_shard(url: str, shard: int, votes: int, progress: Progress, task: TaskID) -> None:
    conn = await asyncpg.connect(url)
    for sent in range(0, votes, BATCH):
        if sent % (200 * BATCH) == 0:
            await conn.execute(EXTEND_PARTITIONS)
        await conn.fetchval(APPEND_VOTES, shard, BATCH, sent)
        progress.advance(task, BATCH)
    await conn.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.segments", description=__doc__)
    parser.add_argument(
        "--size", type=int, default=10_000_000, help="votes, half of them by voters with one vote"
    )
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    uvloop.run(main(options.size, options.runs))
