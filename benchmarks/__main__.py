"""`make bench`: measure Shiplog, the machine's limits and peers; print a table, and write it as JSON."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections import defaultdict
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import limits, loads
from benchmarks.check import check_log
from benchmarks.client import drive, post
from benchmarks.measurement import Measure, Measurement
from benchmarks.peers import Peers, emmett, fastapi_sqlalchemy, message_db, open_peers, pgbench
from benchmarks.servers import Shiplog, fixed_answers, shiplog
from benchmarks.votes import changed, hot, zipf
from services.embedded.postgres import Postgres
from tests.support.instances import reach_loopback_directly

BARE = "limit: bare ASGI app, fixed answer"
MOUNTED = "limit: ASGI route in Litestar, fixed answer"
PLAIN = "limit: Litestar handler, fixed answer"
COPY = "limit: COPY into a table like events, batches of 1,000"
SINGLE = "Shiplog: one vote per request"
AT_HALF = "Shiplog: one vote per request, at half that rate"
FEW = "Shiplog: one vote per request, 64 connections"
TWO = "Shiplog: one vote per request, 2 API processes"
OVERLOAD = f"Shiplog: {loads.OVERLOAD_CONNECTIONS:,} connections at once, retrying after 503"
BULK = "Shiplog: bulk over HTTP, new votes"
ZIPF = "Shiplog: bulk, tools by Zipf's law"
HOT = "Shiplog: bulk, all votes on one tool"
CHANGED = "Shiplog: bulk, voters who change their votes"
DURING_BULK = f"Shiplog: {loads.DURING_BULK} single votes/s during bulk at full speed"
IMPORT = "Shiplog: import from a file"
VISIBLE = f"Shiplog: from acknowledged to visible, at {loads.STEADY:,} single votes/s"
VISIBLE_BULK = f"Shiplog: from acknowledged to visible, at {loads.STEADY_BULK:,} bulk votes/s"
ONE_VOTE_PER_CALL = (fastapi_sqlalchemy.PEER.name, emmett.PEER.name, message_db.PEER.name)
# For each row, the rows that its rate is divided by.
RATIOS = {
    SINGLE: (MOUNTED, pgbench.PEER.name, *ONE_VOTE_PER_CALL),
    FEW: (SINGLE,),
    TWO: (SINGLE,),
    OVERLOAD: (SINGLE,),
    BULK: (COPY,),
    IMPORT: (COPY,),
    ZIPF: (BULK,),
    HOT: (BULK,),
    CHANGED: (BULK,),
}


class Row(Struct, frozen=True):
    """Medians of all runs, and ratios of the median rate to those of other rows."""

    name: str
    rate: float
    p50_ms: float | None
    p99_ms: float | None
    ratios: dict[str, float]
    rates: list[float]
    setting: str


async def main(runs: int, scale: float, *, with_peers: bool) -> None:
    measured: dict[str, list[Measurement]] = defaultdict(list)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shiplog-bench-")))
        progress = stack.enter_context(Progress(console=Console(stderr=True)))
        peers = Peers({}, {}, {})
        if with_peers:
            peers = await stack.enter_async_context(open_peers(folder / "peers", progress, scale))
        ports = [stack.enter_context(fixed_answers(*app)) for app in (("bare",), ("litestar", "--factory"))]
        server = stack.enter_context(shiplog(folder / "data"))
        measures = _limits(server, ports, scale) | _shiplog(server, folder, scale, measured) | peers.measures
        task = progress.add_task("measuring", total=runs * len(measures))
        for _ in range(runs):
            for name, measure in measures.items():
                progress.update(task, description=name)
                measured[name].append(await measure())
                if not progress.console.is_terminal:
                    progress.console.print(
                        f"{name}: {measured[name][-1].rate:,.0f} a second", highlight=False
                    )
                progress.advance(task)
        checked = await check_log(_database(server))
        memory = server.peak_memory()
    rows = [_row(name, measured, peers.settings.get(name, "")) for name in measured]
    _report(rows, runs, [checked, f"memory of an API process: {memory:.0f} MiB at most", *_missing(peers)])


def _limits(server: Shiplog, ports: list[int], scale: float) -> dict[str, Measure]:
    (bare, mounted), requests = ports, int(20_000 * scale)
    plain = [post("/plain", b'{"tool":"uv"}', ["Content-Type: application/json"])] * requests

    async def plain_handler() -> Measurement:
        return Measurement((await drive(mounted, plain, loads.CONNECTIONS)).rate)

    async def copy() -> Measurement:
        return Measurement(await limits.copy_rate(_database(server), int(200_000 * scale), batch=1_000))

    return {
        BARE: partial(loads.single, bare, "", requests),
        MOUNTED: partial(loads.single, mounted, "", requests),
        PLAIN: plain_handler,
        COPY: copy,
    }


def _shiplog(
    server: Shiplog, folder: Path, scale: float, so_far: dict[str, list[Measurement]]
) -> dict[str, Measure]:
    """All measures are run in turn, several times, so that a slow minute of the machine affects all of them."""
    key, requests, votes = server.key(), int(20_000 * scale), int(200_000 * scale)

    async def at_half() -> Measurement:
        return await loads.single_at(server.port, key, so_far[SINGLE][-1].rate / 2)

    return {
        SINGLE: partial(loads.single, server.port, key, requests),
        AT_HALF: at_half,
        FEW: partial(loads.single, server.port, key, requests, connections=64),
        TWO: partial(loads.over_processes, server.ports, key, requests),
        OVERLOAD: partial(loads.overload, server.port, key, 3 * requests),
        BULK: partial(loads.bulk, server.port, key, votes),
        ZIPF: partial(loads.bulk, server.port, key, votes, zipf),
        HOT: partial(loads.bulk, server.port, key, votes, hot),
        CHANGED: partial(loads.bulk, server.port, key, votes, changed),
        DURING_BULK: partial(loads.single_during_bulk, server.port, key, 2 * votes),
        IMPORT: partial(loads.import_file, server, folder, votes),
        VISIBLE: partial(loads.visible_under_singles, server.port, key),
        VISIBLE_BULK: partial(loads.visible_under_bulk, server.port, key),
    }


def _row(name: str, measured: dict[str, list[Measurement]], setting: str) -> Row:
    rates = [each.rate for each in measured[name]]
    ratios = {
        against: statistics.median(rates) / statistics.median(each.rate for each in measured[against])
        for against in RATIOS.get(name, ())
        if against in measured
    }
    p50, p99 = ([getattr(each, part) for each in measured[name]] for part in ("p50_ms", "p99_ms"))
    return Row(name, statistics.median(rates), _median(p50), _median(p99), ratios, rates, setting)


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _missing(peers: Peers) -> list[str]:
    return [f"{name}: not run: {why}" for name, why in peers.not_run.items()]


def _report(rows: list[Row], runs: int, notes: list[str]) -> None:
    table = Table(
        "measurement",
        "per second",
        "p50 ms",
        "p99 ms",
        "ratios",
        title=f"medians of {runs} runs on {os.cpu_count()} cores; requests, votes or rows per second",
    )
    for row in rows:
        ratios = "\n".join(f"{ratio:.2f} of {against}" for against, ratio in row.ratios.items())
        name = f"{row.name}\n  {row.setting}" if row.setting else row.name
        table.add_row(name, f"{row.rate:,.0f}", _milliseconds(row.p50_ms), _milliseconds(row.p99_ms), ratios)
    Console(width=150).print(table, *notes, sep="\n", highlight=False)
    results = Path("benchmarks/results/latest.json")
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_bytes(msgspec.json.format(msgspec.json.encode({"rows": rows, "notes": notes})))


def _milliseconds(milliseconds: float | None) -> str:
    return f"{milliseconds:.1f}" if milliseconds is not None else ""


def _database(server: Shiplog) -> str:
    running = Postgres.attach(server.data)
    assert running is not None
    return running.url()


if __name__ == "__main__":
    reach_loopback_directly()
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of the number of votes; 0.1 for a quick look"
    )
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    uvloop.run(main(options.runs, options.scale, with_peers=options.peers))
