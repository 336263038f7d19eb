"""Whether the log stays as fast when it grows: the same loads on a small log and a large one in turn; and its size."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import uvloop
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from benchmarks import ours
from benchmarks.measured import Measured
from benchmarks.servers import Shiplog, shiplog
from services.embedded.postgres import Postgres

SMALL = 100_000
GROUP = 5_000

# Voters made by the server itself, which is many times faster than sending them; each is new.
FILL = """
SELECT count(*) FROM append_casts($1::smallint, array_fill('v'::text, ARRAY[$2::integer]),
    array(SELECT gen_random_uuid() FROM generate_series(1, $2::integer)),
    array(SELECT ($3::integer[])[1 + n % 10] FROM generate_series(1, $2::integer) AS n),
    array(SELECT CASE WHEN n % 5 < 3 THEN 'ship' ELSE 'skip' END FROM generate_series(1, $2::integer) AS n),
    array(SELECT uuidv7() FROM generate_series(1, $2::integer)), array_fill('k1'::text, ARRAY[$2::integer]))
"""
TEN_TOOLS = "SELECT array(SELECT tool FROM slugs ORDER BY tool LIMIT 10)"
SHARDS = "SELECT shard FROM heads WHERE shard > 0 ORDER BY shard"
PARTITIONS = "SELECT extend_events(max(position) + 4194304) FROM heads"
EVENTS = "SELECT sum(position)::bigint FROM heads"
BEHIND = (
    "SELECT coalesce(sum(h.position - c.position), 0) FROM checkpoints AS c JOIN heads AS h USING (shard)"
)
BYTES = """
SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relname ~ '^(events|standings)' AND relkind IN ('r', 'i')
"""


async def main(size: int, runs: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="shiplog-bench-") as folder,
        shiplog(Path(folder) / "small") as small,
        shiplog(Path(folder) / "large") as large,
        Progress(console=Console(stderr=True)) as progress,
    ):
        for server, events in ((small, SMALL), (large, size)):
            await fill(_url(server), events, progress)
        rates = await _measure(small, large, runs)
        conn = await asyncpg.connect(_url(large))
        events, size_bytes = await conn.fetchval(EVENTS), await conn.fetchval(BYTES)
        await conn.close()
    table = Table(
        "what", f"at {SMALL:,}", f"at {size:,}", "ratio", title=f"medians of {runs} runs, votes a second"
    )
    for name, pairs in rates.items():
        few, many = (statistics.median(each) for each in zip(*pairs, strict=True))
        ratio = statistics.median(late / early for early, late in pairs)
        table.add_row(name, f"{few:,.0f}", f"{many:,.0f}", f"{ratio:.2f}")
    per_vote = f"{size_bytes / events:.1f} bytes on disk a vote, with indexes and standings"
    Console(width=120).print(table, f"{events:,} events; {per_vote}", sep="\n", highlight=False)


async def _measure(small: Shiplog, large: Shiplog, runs: int) -> dict[str, list[tuple[float, float]]]:
    """In turn, on the one and on the other, so that whatever else the machine does falls on both alike."""
    # Bulk first: after a checkpoint the first change of a page writes it whole, and bulk soon has touched them all.
    loads: dict[str, Callable[[int, str], Awaitable[Measured]]] = {
        "bulk over HTTP, new votes": lambda port, key: ours.bulk(port, key, 200_000),
        "one vote a request": lambda port, key: ours.single(port, key, 20_000),
    }
    logs = [(server.port, server.key()) for server in (small, large)]
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in loads}
    for name, load in loads.items():
        for log in logs:
            await load(*log)  # connections, plans and caches
        for _ in range(runs):
            few, many = [(await load(*log)).rate for log in logs]
            rates[name].append((few, many))
    return rates


def _url(server: Shiplog) -> str:
    running = Postgres.attach(server.data)
    assert running is not None
    return running.url()


async def fill(url: str, upto: int, progress: Progress) -> None:
    """A connection per shard; returns when everything is appended, folded and vacuumed."""
    conn = await asyncpg.connect(url)
    shards = [row[0] for row in await conn.fetch(SHARDS)]
    left = max(0, upto - await conn.fetchval(EVENTS))
    task = progress.add_task(f"filling to {upto:,}", total=left)
    await asyncio.gather(*(_fill_shard(url, shard, left // len(shards), progress, task) for shard in shards))
    progress.update(task, description="folding")
    while await conn.fetchval(BEHIND):  # noqa: ASYNC110 - nothing to be told by
        await asyncio.sleep(0.2)
    progress.update(task, description="vacuuming")
    await conn.execute("VACUUM ANALYZE")
    await conn.execute("CHECKPOINT")
    await conn.close()


async def _fill_shard(url: str, shard: int, votes: int, progress: Progress, task: TaskID) -> None:
    conn = await asyncpg.connect(url)
    tools = await conn.fetchval(TEN_TOOLS)
    for number, _ in enumerate(range(0, votes, GROUP)):
        if number % 200 == 0:
            await conn.execute(PARTITIONS)
        await conn.fetchval(FILL, shard, GROUP, tools)
        progress.advance(task, GROUP)
    await conn.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.flat", description=__doc__)
    parser.add_argument("--size", type=int, default=20_000_000, help="events in the large log")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    uvloop.run(main(options.size, options.runs))
