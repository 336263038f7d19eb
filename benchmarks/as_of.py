"""Latency of past tallies and comparisons on a large log. Every answer is compared with an independent count."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from urllib.parse import quote

import asyncpg
import uvloop
from asyncpg import Connection, Record
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.flat import fill
from benchmarks.servers import shiplog
from services.embedded.postgres import Postgres

READ_TWO_TOOLS = "SELECT slug, tool FROM slugs ORDER BY tool LIMIT 2"
READ_HEADS = "SELECT shard, position FROM heads WHERE shard > 0"
READ_TIME = "SELECT recorded_at FROM events WHERE shard = $1 AND position = $2"
READ_SPAN = "SELECT max(recorded_at) FILTER (WHERE shard = 0), max(recorded_at) FROM heads"
READ_VOTES = (
    "SELECT recorded_at, position, tool, choice, replaced FROM events WHERE shard = $1 ORDER BY position"
)
WARM_UP = 50

Order = tuple[datetime, int, int]


class Sample(Struct):
    """A point in time, its place in log order, and the votes up to it by tool and choice."""

    as_of: str
    end: Order
    counts: dict[tuple[int, str], int]


async def main(size: int, count: int, seed: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="shiplog-bench-") as folder,
        shiplog(Path(folder) / "data") as server,
        Progress(console=Console(stderr=True)) as progress,
    ):
        running = Postgres.attach(server.data)
        assert running is not None
        await fill(running.url(), size, progress)
        conn = await asyncpg.connect(running.url())
        tools: dict[str, int] = dict(await conn.fetch(READ_TWO_TOOLS))
        samples = await _samples(conn, count, Random(seed))
        events = await _count(conn, samples)
        await conn.close()
        table = Table(
            "request",
            "p50 ms",
            "p99 ms",
            "max ms",
            title=f"{events:,} events, {count:,} points in time of each kind",
        )
        for name, latencies in _ask(server.port, tools, samples).items():
            row = [latencies[int(part * (len(latencies) - 1))] * 1000 for part in (0.5, 0.99, 1.0)]
            table.add_row(name, *(f"{each:.1f}" for each in row))
    Console(width=100).print(table, "every answer equals the independent count", sep="\n", highlight=False)


async def _samples(conn: Connection[Record], count: int, rng: Random) -> list[Sample]:
    """As many times as positions, in log order."""
    heads, (first, last) = await conn.fetch(READ_HEADS), await conn.fetchrow(READ_SPAN) or (None, None)
    samples = []
    for _ in range(count):
        moment = first + (last - first) * rng.random()
        samples.append(Sample(moment.isoformat(), (moment, 2**15, 0), {}))
        shard, head = rng.choice(heads)
        position = rng.randint(1, head)
        end = (await conn.fetchval(READ_TIME, shard, position), shard, position)
        samples.append(Sample(f"{shard}.{position}", end, {}))
    return sorted(samples, key=lambda sample: sample.end)


async def _count(conn: Connection[Record], samples: Sequence[Sample]) -> int:
    """Count votes for all samples in one pass over every voter shard. Here every voter votes once. Returns the events read."""
    events = 0
    for shard, head in await conn.fetch(READ_HEADS):
        running: dict[tuple[int, str], int] = {}
        left = iter([*samples, None])
        sample = next(left)
        async with conn.transaction():
            async for at, position, tool, choice, replaced in conn.cursor(READ_VOTES, shard, prefetch=50_000):
                assert replaced is None
                while sample is not None and sample.end < (at, shard, position):
                    _add(sample, running)
                    sample = next(left)
                running[tool, choice] = running.get((tool, choice), 0) + 1
        while sample is not None:
            _add(sample, running)
            sample = next(left)
        events += head
    return events


def _add(sample: Sample, running: dict[tuple[int, str], int]) -> None:
    for key, votes in running.items():
        sample.counts[key] = sample.counts.get(key, 0) + votes


def _ask(port: int, tools: dict[str, int], samples: Sequence[Sample]) -> dict[str, list[float]]:
    """Latencies in seconds, sorted. Requests are sent one at a time over one connection, in random order."""
    conn, shuffled = HTTPConnection("127.0.0.1", port), Random(1).sample(samples, len(samples))
    (left, right), latencies = tools, {}
    for name, path, sides in (
        ("GET tally?as_of", f"/v1/tools/{left}/tally", [("", left)]),
        ("GET comparison?as_of", f"/v1/comparisons/{left}/{right}", [("left", left), ("right", right)]),
    ):
        for kind, some in (
            ("time", [s for s in shuffled if ":" in s.as_of]),
            ("position", [s for s in shuffled if ":" not in s.as_of]),
        ):
            times = []
            for sample in [*some[:WARM_UP], *some]:
                started = time.perf_counter()
                conn.request("GET", f"{path}?as_of={quote(sample.as_of)}")
                answer = conn.getresponse()
                body = answer.read()
                times.append(time.perf_counter() - started)
                assert answer.status == 200, body
                for side, slug in sides:
                    _check(json.loads(body), side, tools[slug], sample)
            latencies[f"{name}, a {kind}"] = sorted(times[WARM_UP:])
    return latencies


def _check(answer: dict[str, dict[str, dict[str, int]]], side: str, tool: int, sample: Sample) -> None:
    tally = answer[side]["tally"] if side else answer
    expected = [sample.counts.get((tool, choice), 0) for choice in ("ship", "skip")]
    assert [tally["ship"], tally["skip"]] == expected, (sample.as_of, tally, expected)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.as_of", description=__doc__)
    parser.add_argument("--size", type=int, default=10_000_000, help="events in the log")
    parser.add_argument("--moments", type=int, default=1_000, help="number of times, and of positions")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    uvloop.run(main(options.size, options.moments, options.seed))
