"""`make bench`: one command, one table, JSON beside it."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import limits
from benchmarks.check import check_log
from benchmarks.client import drive
from benchmarks.servers import Shiplog, nothing, shiplog
from benchmarks.votes import bulks, singles
from services.cli.embedded.postgres import Postgres

CONNECTIONS = 64
SENDERS = 3
EACH = 5_000

BARE = "limit: bare ASGI, answers nothing"
MOUNTED = "limit: ASGI route in Litestar, answers nothing"
COPY = "limit: COPY into an equal table, batches of 1,000"
SINGLE = "ours: one vote a request, durable"
BULK = "ours: bulk over HTTP, new votes"
HOT = "ours: bulk over HTTP, one hot tool"
AGAINST = {SINGLE: MOUNTED, BULK: COPY, HOT: BULK}


class Measured(Struct, frozen=True):
    """Requests or votes or rows a second; the 99th percentile of a request in milliseconds, if there were any."""

    rate: float
    p99_ms: float | None = None


class Row(Struct, frozen=True):
    """Medians of the runs, and the ratio of medians to what it is held against."""

    name: str
    rate: float
    p99_ms: float | None
    against: str | None
    ratio: float | None
    rates: list[float]


Measure = Callable[[], Awaitable[Measured]]


async def main(runs: int, scale: float) -> None:
    measured: dict[str, list[Measured]] = defaultdict(list)
    with (
        tempfile.TemporaryDirectory(prefix="shiplog-bench-") as folder,
        shiplog(Path(folder) / "data") as ours,
        nothing("bare") as bare,
        nothing("litestar", "--factory") as mounted,
        Progress(console=Console(stderr=True)) as progress,
    ):
        measures = _measures(ours, bare, mounted, scale)
        task = progress.add_task("measuring", total=runs * len(measures))
        for _ in range(runs):
            for name, measure in measures.items():
                measured[name].append(await measure())
                progress.advance(task)
        checked = await check_log(_database(ours))
    _report([_row(name, measured) for name in measured], runs, checked)


def _measures(ours: Shiplog, bare: int, mounted: int, scale: float) -> dict[str, Measure]:
    """Each is run in turn, so that a slow minute of the machine is shared by all."""
    key, requests, votes = ours.key(), int(20_000 * scale), int(100_000 * scale)

    async def answered(port: int) -> Measured:
        load = await drive(port, singles(requests, key), CONNECTIONS)
        assert load.statuses.keys() == {200}, load.statuses
        return Measured(load.rate, load.percentile(0.99) * 1000)

    async def in_bulk(*, hot: bool) -> Measured:
        load = await drive(ours.port, bulks(votes // EACH, EACH, key, hot=hot), SENDERS)
        assert load.statuses.keys() == {200}, load.statuses
        return Measured(load.rate * EACH)

    async def copied() -> Measured:
        return Measured(await limits.copy_rate(_database(ours), votes, batch=1_000))

    return {
        BARE: lambda: answered(bare),
        MOUNTED: lambda: answered(mounted),
        SINGLE: lambda: answered(ours.port),
        BULK: lambda: in_bulk(hot=False),
        HOT: lambda: in_bulk(hot=True),
        COPY: copied,
    }


def _row(name: str, measured: dict[str, list[Measured]]) -> Row:
    rates = [each.rate for each in measured[name]]
    latencies = [each.p99_ms for each in measured[name] if each.p99_ms is not None]
    against = AGAINST.get(name)
    ratio = None
    if against is not None:
        ratio = statistics.median(rates) / statistics.median(each.rate for each in measured[against])
    p99 = statistics.median(latencies) if latencies else None
    return Row(name, statistics.median(rates), p99, against, ratio, rates)


def _report(rows: list[Row], runs: int, checked: str) -> None:
    table = Table(
        "what",
        "a second",
        "p99 ms",
        "ratio",
        "against",
        title=f"medians of {runs} runs, {os.cpu_count()} cores",
    )
    for row in rows:
        table.add_row(
            row.name,
            f"{row.rate:,.0f}",
            f"{row.p99_ms:.1f}" if row.p99_ms else "",
            f"{row.ratio:.2f}" if row.ratio else "",
            row.against or "",
        )
    Console(width=150).print(table, checked, highlight=False)
    results = Path("benchmarks/results/latest.json")
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_bytes(msgspec.json.format(msgspec.json.encode(rows)))


def _database(ours: Shiplog) -> str:
    running = Postgres.attach(ours.data)
    assert running is not None
    return running.url()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="0.1 for a quick look")
    options = parser.parse_args()
    uvloop.run(main(options.runs, options.scale))
