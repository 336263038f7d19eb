"""`make bench`: one command, one table, JSON beside it."""

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

from benchmarks import limits, ours
from benchmarks.check import check_log
from benchmarks.client import drive, post
from benchmarks.measured import Measure, Measured
from benchmarks.peers import Peers, open_peers
from benchmarks.servers import Shiplog, nothing, shiplog
from benchmarks.votes import changed, hot, zipf
from services.embedded.postgres import Postgres

BARE = "limit: bare ASGI, answers nothing"
MOUNTED = "limit: ASGI route in Litestar, answers nothing"
PLAIN = "limit: plain Litestar handler, answers nothing"
PGBENCH = "limit: pgbench, one durable insert a transaction"
COPY = "limit: COPY into an equal table, batches of 1,000"
SINGLE = "ours: one vote a request, durable"
AT_HALF = "ours: the same at half that rate"
FEW = "ours: the same over 64 connections"
TWO = "ours: the same through 2 processes"
CROWD = f"ours: {ours.CROWD:,} senders at once, told to come back"
BULK = "ours: bulk over HTTP, new votes"
ZIPF = "ours: bulk, tools by Zipf's law"
HOT = "ours: bulk, one hot tool"
CHANGED = "ours: bulk, voters who change their votes"
BESIDE = f"ours: {ours.BESIDE} single votes/s beside bulk at full speed"
IMPORT = "ours: import from a file"
SEEN = "ours: answered to seen, at 2,000 single votes/s"
SEEN_BULK = "ours: answered to seen, at 20,000 bulk votes/s"
CALLED_ONE_BY_ONE = (
    "peer: FastAPI and SQLAlchemy, one vote a request",
    "peer: Emmett, one event a call",
    "peer: message-db, one message a call",
)
AGAINST = {
    SINGLE: (MOUNTED, PGBENCH, *CALLED_ONE_BY_ONE),
    FEW: (SINGLE,),
    TWO: (SINGLE,),
    CROWD: (SINGLE,),
    BULK: (COPY,),
    IMPORT: (COPY,),
    ZIPF: (BULK,),
    HOT: (BULK,),
    CHANGED: (BULK,),
}


class Row(Struct, frozen=True):
    """Medians of the runs, and the ratios of medians to what it is held against."""

    name: str
    rate: float
    p50_ms: float | None
    p99_ms: float | None
    ratios: dict[str, float]
    rates: list[float]
    setting: str


async def main(runs: int, scale: float, *, with_peers: bool) -> None:
    measured: dict[str, list[Measured]] = defaultdict(list)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shiplog-bench-")))
        progress = stack.enter_context(Progress(console=Console(stderr=True)))
        peers = Peers({}, {}, {})
        if with_peers:
            peers = await stack.enter_async_context(open_peers(folder / "peers", progress, scale))
        ports = [stack.enter_context(nothing(*app)) for app in (("bare",), ("litestar", "--factory"))]
        server = stack.enter_context(shiplog(folder / "data"))
        measures = _limits(server, ports, scale) | _ours(server, folder, scale, measured) | peers.measures
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
    _report(rows, runs, [checked, f"an API process held {memory:.0f} MiB at most", *_missing(peers)])


def _limits(server: Shiplog, ports: list[int], scale: float) -> dict[str, Measure]:
    (bare, mounted), requests = ports, int(20_000 * scale)
    plain = [post("/plain", b'{"tool":"uv"}', ["Content-Type: application/json"])] * requests

    async def plainly() -> Measured:
        return Measured((await drive(mounted, plain, ours.CONNECTIONS)).rate)

    async def copied() -> Measured:
        return Measured(await limits.copy_rate(_database(server), int(200_000 * scale), batch=1_000))

    return {
        BARE: partial(ours.single, bare, "", requests),
        MOUNTED: partial(ours.single, mounted, "", requests),
        PLAIN: plainly,
        COPY: copied,
    }


def _ours(
    server: Shiplog, folder: Path, scale: float, so_far: dict[str, list[Measured]]
) -> dict[str, Measure]:
    """Each is run in turn, so that a slow minute of the machine is shared by all."""
    key, requests, votes = server.key(), int(20_000 * scale), int(200_000 * scale)

    async def at_half() -> Measured:
        return await ours.single_at(server.port, key, so_far[SINGLE][-1].rate / 2)

    return {
        SINGLE: partial(ours.single, server.port, key, requests),
        AT_HALF: at_half,
        FEW: partial(ours.single, server.port, key, requests, connections=64),
        TWO: partial(ours.over_processes, server.ports, key, requests),
        CROWD: partial(ours.crowded, server.port, key, 3 * requests),
        BULK: partial(ours.bulk, server.port, key, votes),
        ZIPF: partial(ours.bulk, server.port, key, votes, zipf),
        HOT: partial(ours.bulk, server.port, key, votes, hot),
        CHANGED: partial(ours.bulk, server.port, key, votes, changed),
        BESIDE: partial(ours.single_beside_bulk, server.port, key, 2 * votes),
        IMPORT: partial(ours.imported, server, folder, votes),
        SEEN: partial(ours.seen_under_singles, server.port, key),
        SEEN_BULK: partial(ours.seen_under_bulk, server.port, key),
    }


def _row(name: str, measured: dict[str, list[Measured]], setting: str) -> Row:
    rates = [each.rate for each in measured[name]]
    ratios = {
        against: statistics.median(rates) / statistics.median(each.rate for each in measured[against])
        for against in AGAINST.get(name, ())
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
        "what",
        "a second",
        "p50 ms",
        "p99 ms",
        "ratios",
        title=f"medians of {runs} runs, {os.cpu_count()} cores",
    )
    for row in rows:
        ratios = "\n".join(f"{ratio:.2f} of {against}" for against, ratio in row.ratios.items())
        name = f"{row.name}\n  {row.setting}" if row.setting else row.name
        table.add_row(name, f"{row.rate:,.0f}", _shown(row.p50_ms), _shown(row.p99_ms), ratios)
    Console(width=150).print(table, *notes, sep="\n", highlight=False)
    results = Path("benchmarks/results/latest.json")
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_bytes(msgspec.json.format(msgspec.json.encode({"rows": rows, "notes": notes})))


def _shown(milliseconds: float | None) -> str:
    return f"{milliseconds:.1f}" if milliseconds is not None else ""


def _database(server: Shiplog) -> str:
    running = Postgres.attach(server.data)
    assert running is not None
    return running.url()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="0.1 for a quick look")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    uvloop.run(main(options.runs, options.scale, with_peers=options.peers))
