"""Replay on a large log: recount and rebuild, compared with a bare aggregate and a fold in Python, and reads during a replay."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import httpx
import uvloop
from asyncpg import Connection, Record
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.client import Load, drive
from benchmarks.flat import fill
from benchmarks.servers import Shiplog, shiplog
from benchmarks.votes import singles
from domain.shared.log import Event, Position, RecordedEvent
from projections.engine.projection import RANGE
from projections.tally import TALLY
from services.embedded.postgres import Postgres

BARE_AGGREGATE = "SELECT tool, count(*) FROM events WHERE shard = $1 GROUP BY tool"
RECOUNT_TALLY = f"WITH {RANGE} SELECT * FROM ({TALLY.fold_select}) AS folded"
READ_COLUMNS = "SELECT tool, choice, replaced FROM events WHERE shard = $1 ORDER BY position"
READ_EVENTS = """
SELECT shard, position, recorded_at, type, actor, id, origin, tool, choice, replaced, data
  FROM events WHERE shard = $1 ORDER BY position
"""
READ_HEADS = "SELECT shard, position FROM heads WHERE shard > 0 ORDER BY shard"
PYTHON_ROWS = 500_000
VOTES, SECONDS, PAUSE_SECONDS = 1_000, 15, 0.005

Heads = list[tuple[int, int]]


async def main(size: int, runs: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="shiplog-bench-") as folder,
        shiplog(Path(folder) / "data") as server,
        Progress(console=Console(stderr=True)) as progress,
    ):
        running = Postgres.attach(server.data)
        assert running is not None
        await fill(running.url(), size, progress)
        conn = await asyncpg.connect(running.url(), server_settings={"max_parallel_workers_per_gather": "0"})
        rates = await _rates(conn, runs)
        await conn.close()
        replays = {
            name: [await _replayed(server, name) for _ in range(runs)] for name in ("tally", "hourly_tally")
        }
        alone = await _reads_during_votes(server)
        during_replay = await _reads_during_votes(server, replaying=True)
    _report(size, runs, rates, replays)
    print(
        f"reads during {VOTES:,} votes/s, p50 and p99 in ms: {alone}; with a replay as well: {during_replay}"
    )


async def _rates(conn: Connection[Record], runs: int) -> dict[str, float]:
    """Events a second over one connection, without parallel workers."""
    heads: Heads = [tuple(row) for row in await conn.fetch(READ_HEADS)]
    events = sum(position for _, position in heads)

    async def bare() -> int:
        for shard, _ in heads:
            await conn.fetch(BARE_AGGREGATE, shard)
        return events

    async def recount() -> int:
        for shard, head in heads:
            await conn.fetch(RECOUNT_TALLY, shard, 0, head)
        return events

    measures: dict[str, Callable[[], Awaitable[int]]] = {
        "bare aggregate": bare,
        "recount of the tally": recount,
        "Python fold over a cursor, whole events": lambda: _fold_of_events(conn, heads[0][0]),
        "Python fold over a cursor, three columns": lambda: _fold_of_columns(conn, heads[0][0]),
    }
    rates: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(runs):
        for name, measure in measures.items():
            started = time.perf_counter()
            folded = await measure()
            rates[name].append(folded / (time.perf_counter() - started))
    return {name: statistics.median(each) for name, each in rates.items()}


async def _fold_of_events(conn: Connection[Record], shard: int) -> int:
    """Folds the first half million as `RecordedEvent`s, the way event stores pass them to a fold."""
    tallies: dict[int, dict[str | None, int]] = {}
    folded = 0
    async with conn.transaction():
        async for row in conn.cursor(READ_EVENTS, shard, prefetch=5_000):
            at, recorded_at, kind, actor, vote_id, origin, tool, choice, replaced, data = (
                Position(row[0], row[1]),
                *row[2:],
            )
            event = Event(
                type=kind,
                actor=actor,
                id=vote_id,
                source=origin,
                tool=tool,
                choice=choice,
                replaced=replaced,
                data=data,
            )
            recorded = RecordedEvent(at, recorded_at, event)
            tally = tallies.setdefault(tool, {"ship": 0, "skip": 0, None: 0})
            tally[recorded.event.choice] += 1
            tally[recorded.event.replaced] -= 1
            folded += 1
            if folded == PYTHON_ROWS:
                break
    return folded


async def _fold_of_columns(conn: Connection[Record], shard: int) -> int:
    """Folds the same events as rows of the three columns that are counted."""
    tallies: dict[int, dict[str | None, int]] = {}
    folded = 0
    async with conn.transaction():
        async for tool, choice, replaced in conn.cursor(READ_COLUMNS, shard, prefetch=5_000):
            tally = tallies.setdefault(tool, {"ship": 0, "skip": 0, None: 0})
            tally[choice] += 1
            tally[replaced] -= 1
            folded += 1
            if folded == PYTHON_ROWS:
                break
    return folded


async def _replayed(server: Shiplog, name: str) -> tuple[float, float]:
    """Seconds of a replay with its cut-over, and events a second, as the command reports them."""
    arguments = ["replay", name, "--json", "--data", str(server.data)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", *arguments, stdout=PIPE
    )
    output, _ = await process.communicate()
    report = json.loads(output)
    assert (process.returncode, report["equal"], report["state"]) == (0, True, "cut-over"), output
    return report["seconds"], report["rate"]


async def _reads_during_votes(server: Shiplog, *, replaying: bool = False) -> tuple[float, float]:
    key = server.key()
    load: asyncio.Task[Load] = asyncio.create_task(
        drive(server.port, singles(VOTES * SECONDS, key), 64, VOTES)
    )
    reading = asyncio.create_task(_read(server.port, load))
    while replaying and not load.done():
        await _replayed(server, "tally")
    assert (await load).statuses.keys() == {200}
    return await reading


async def _read(port: int, until: asyncio.Task[Load]) -> tuple[float, float]:
    latencies = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        while not until.done():
            started = time.perf_counter()
            assert (await client.get("/v1/tools/uv/tally")).status_code == 200
            latencies.append((time.perf_counter() - started) * 1000)
            await asyncio.sleep(PAUSE_SECONDS)
    latencies.sort()
    return round(latencies[len(latencies) // 2], 1), round(latencies[int(0.99 * len(latencies))], 1)


def _report(
    size: int, runs: int, rates: dict[str, float], replays: dict[str, list[tuple[float, float]]]
) -> None:
    table = Table(
        "measurement",
        "events per second",
        "seconds",
        "ratio to bare",
        title=f"{size:,} votes, medians of {runs} runs",
    )
    bare = rates["bare aggregate"]
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}", "", f"{rate / bare:.2f}")
    for name, each in replays.items():
        seconds, rate = (statistics.median(part) for part in zip(*each, strict=True))
        table.add_row(f"shiplog replay {name}", f"{rate:,.0f}", f"{seconds:.1f}", f"{rate / bare:.2f}")
    Console(width=120).print(table, highlight=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.replay", description=__doc__)
    parser.add_argument("--size", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    uvloop.run(main(options.size, options.runs))
