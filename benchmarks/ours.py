"""Ours: one vote a request, in bulk, from a file; how soon each is seen, and what overload does."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.client import Load, drive
from benchmarks.measured import Measured
from benchmarks.servers import Shiplog
from benchmarks.visible import watch
from benchmarks.votes import Load as Votes
from benchmarks.votes import bulks, lines, singles, uniform

CONNECTIONS = 256
SENDERS = 3
EACH = 5_000
SECONDS_WATCHED = 5.0
STEADY = 2_000
STEADY_BULK = 20_000
BESIDE = 200
CROWD = 6_000

T = TypeVar("T")


async def single(port: int, key: str, count: int, connections: int = CONNECTIONS) -> Measured:
    return _answered(await drive(port, singles(count, key), connections))


async def single_at(port: int, key: str, rate: float) -> Measured:
    """So many a second, each at its moment, whether the one before has been answered or not."""
    return _answered(await drive(port, singles(int(rate * SECONDS_WATCHED), key), CONNECTIONS, rate))


async def over_processes(ports: list[int], key: str, count: int) -> Measured:
    """The same load, shared by several API processes on one log."""
    shares = [singles(count // len(ports), key) for _ in ports]
    started = time.perf_counter()
    each = CONNECTIONS // len(ports)
    loads = await asyncio.gather(
        *(drive(port, share, each) for port, share in zip(ports, shares, strict=True))
    )
    done = sum(len(load.latencies) for load in loads)
    return Measured(done / (time.perf_counter() - started), max(_p99(load) for load in loads))


async def bulk(port: int, key: str, count: int, votes: Votes = uniform) -> Measured:
    load = await drive(port, bulks(count // EACH, EACH, key, votes), SENDERS)
    assert load.statuses.keys() == {200}, load.statuses
    return Measured(load.rate * EACH)


async def imported(ours: Shiplog, folder: Path, count: int) -> Measured:
    """`shiplog import votes FILE`, as timed by itself from the first line to the last commit."""
    file = folder / "votes.ndjson"
    file.write_bytes(lines(count))
    words = ["import", "votes", str(file), "--json", "--data", str(ours.data)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", *words, stdout=PIPE, stderr=DEVNULL
    )
    said, _ = await process.communicate()
    told = json.loads(said)
    assert (process.returncode, told["counted"]) == (0, count), said
    return Measured(told["rate"])


async def seen_under_singles(port: int, key: str) -> Measured:
    load = drive(port, singles(int(STEADY * SECONDS_WATCHED), key), CONNECTIONS, STEADY)
    return await _seen(port, key, load)


async def seen_under_bulk(port: int, key: str) -> Measured:
    count = int(STEADY_BULK * SECONDS_WATCHED)
    requests = bulks(count // 1_000, 1_000, key)
    return await _seen(port, key, drive(port, requests, SENDERS, STEADY_BULK / 1_000), each=1_000)


async def single_beside_bulk(port: int, key: str, count: int) -> Measured:
    """Visitors while senders of bulk votes send as fast as they can."""
    sending = asyncio.create_task(bulk(port, key, count))
    load = await drive(port, singles(int(BESIDE * SECONDS_WATCHED), key), CONNECTIONS, BESIDE)
    await sending
    return _answered(load)


async def crowded(port: int, key: str, count: int) -> Measured:
    """Far more senders than the queue holds; who is told to come back does, after as long as it was told."""
    load = await drive(port, singles(count, key), CROWD, obedient=True)
    assert load.statuses.keys() <= {200, 503}, load.statuses
    assert load.statuses[200] == count, load.statuses
    return Measured(load.rate, _p99(load))


async def _seen(port: int, key: str, load: Awaitable[Load], each: int = 1) -> Measured:
    waits, done = await asyncio.gather(watch(port, key, SECONDS_WATCHED), load)
    assert done.statuses.keys() == {200}, done.statuses
    return Measured(done.rate * each, waits[int(0.99 * len(waits))] * 1000, waits[len(waits) // 2] * 1000)


def _answered(load: Load) -> Measured:
    assert load.statuses.keys() == {200}, load.statuses
    return Measured(load.rate, _p99(load), load.percentile(0.5) * 1000)


def _p99(load: Load) -> float:
    return load.percentile(0.99) * 1000


Run = Callable[[], Awaitable[Measured]]
