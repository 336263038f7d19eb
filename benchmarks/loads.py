"""Loads on Shiplog: single votes, bulk, an import, overload, and the delay until a vote is visible."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from benchmarks.client import Load, drive
from benchmarks.measurement import Measurement
from benchmarks.servers import Shiplog
from benchmarks.visibility import measure_delays
from benchmarks.votes import Load as Votes
from benchmarks.votes import bulks, lines, singles, uniform

CONNECTIONS = 256
BULK_CONNECTIONS = 3
BULK_LINES = 5_000  # votes per bulk request
STEADY_SECONDS = 5.0
STEADY = 2_000  # votes a second, as are the next two
STEADY_BULK = 20_000
DURING_BULK = 200
OVERLOAD_CONNECTIONS = 6_000

T = TypeVar("T")


async def single(port: int, key: str, count: int, connections: int = CONNECTIONS) -> Measurement:
    return _answered(await drive(port, singles(count, key), connections))


async def single_at(port: int, key: str, rate: float) -> Measurement:
    """An open loop: votes are sent at ``rate`` a second, whether or not earlier ones have been answered."""
    return _answered(await drive(port, singles(int(rate * STEADY_SECONDS), key), CONNECTIONS, rate))


async def over_processes(ports: list[int], key: str, count: int) -> Measurement:
    """The load of ``single``, spread over several API processes on one log."""
    shares = [singles(count // len(ports), key) for _ in ports]
    started = time.perf_counter()
    each = CONNECTIONS // len(ports)
    loads = await asyncio.gather(
        *(drive(port, share, each) for port, share in zip(ports, shares, strict=True))
    )
    done = sum(len(load.latencies) for load in loads)
    return Measurement(done / (time.perf_counter() - started), max(_p99(load) for load in loads))


async def bulk(port: int, key: str, count: int, votes: Votes = uniform) -> Measurement:
    load = await drive(port, bulks(count // BULK_LINES, BULK_LINES, key, votes), BULK_CONNECTIONS)
    assert load.statuses.keys() == {200}, load.statuses
    return Measurement(load.rate * BULK_LINES)


async def import_file(server: Shiplog, folder: Path, count: int) -> Measurement:
    """`shiplog import votes FILE`, which times itself from the first line to the last commit."""
    file = folder / "votes.ndjson"
    file.write_bytes(lines(count))
    arguments = ["import", "votes", str(file), "--json", "--data", str(server.data)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", *arguments, stdout=PIPE, stderr=DEVNULL
    )
    output, _ = await process.communicate()
    report = json.loads(output)
    assert (process.returncode, report["counted"]) == (0, count), output
    return Measurement(report["rate"])


async def visible_under_singles(port: int, key: str) -> Measurement:
    load = drive(port, singles(int(STEADY * STEADY_SECONDS), key), CONNECTIONS, STEADY)
    return await _visible(port, key, load)


async def visible_under_bulk(port: int, key: str) -> Measurement:
    count = int(STEADY_BULK * STEADY_SECONDS)
    requests = bulks(count // 1_000, 1_000, key)
    return await _visible(port, key, drive(port, requests, BULK_CONNECTIONS, STEADY_BULK / 1_000), each=1_000)


async def single_during_bulk(port: int, key: str, count: int) -> Measurement:
    """Single votes while bulk requests are sent as fast as possible."""
    sending = asyncio.create_task(bulk(port, key, count))
    load = await drive(port, singles(int(DURING_BULK * STEADY_SECONDS), key), CONNECTIONS, DURING_BULK)
    await sending
    return _answered(load)


async def overload(port: int, key: str, count: int) -> Measurement:
    """Far more connections than the queue holds. A vote answered 503 is sent again after its Retry-After."""
    load = await drive(port, singles(count, key), OVERLOAD_CONNECTIONS, retry=True)
    assert load.statuses.keys() <= {200, 503}, load.statuses
    assert load.statuses[200] == count, load.statuses
    return Measurement(load.rate, _p99(load))


async def _visible(port: int, key: str, load: Awaitable[Load], each: int = 1) -> Measurement:
    delays, done = await asyncio.gather(measure_delays(port, key, STEADY_SECONDS), load)
    assert done.statuses.keys() == {200}, done.statuses
    return Measurement(
        done.rate * each, delays[int(0.99 * len(delays))] * 1000, delays[len(delays) // 2] * 1000
    )


def _answered(load: Load) -> Measurement:
    assert load.statuses.keys() == {200}, load.statuses
    return Measurement(load.rate, _p99(load), load.percentile(0.5) * 1000)


def _p99(load: Load) -> float:
    return load.percentile(0.99) * 1000
