"""Levers beside honest voters: how much one client can slow the votes and the health checks of others."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.instances import start_instance
from tests.support.levers import LEVERS, TOOL, read_answer, run

pytestmark = pytest.mark.slow

VOTERS, PAUSE_SECONDS = 8, 0.05
BEFORE_SECONDS, SETTLING_SECONDS, DURING_SECONDS = 6.0, 2.0, 10.0
# The aim is twice. Attackers, voters and servers share the machine here, so a ratio is judged with room.
RATIO_MAX, ROOM_SECONDS = 4.0, 0.1


class Times:
    """Seconds from sending a request to its answer."""

    def __init__(self) -> None:
        self.votes: list[float] = []
        self.bulk: list[float] = []
        self.health: list[float] = []

    def __str__(self) -> str:
        return (
            f"votes p50 {1000 * quantile(self.votes, 0.5):.1f} ms, p99 {1000 * quantile(self.votes, 0.99):.1f} ms "
            f"of {len(self.votes)}; one bulk request at a time, worst {1000 * max(self.bulk):.0f} ms; "
            f"/healthz over new connections p99 {1000 * quantile(self.health, 0.99):.1f} ms, "
            f"worst {1000 * max(self.health):.0f} ms"
        )


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


@pytest.mark.parametrize("lever", LEVERS)
def test_honest_votes_beside(lever: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPLOG_LIMIT_KEY", "0")
    with start_instance(tmp_path / "data") as instance:
        port = int(instance.url.rpartition(":")[2])
        honest, attacker = instance.create_key("votes:write"), instance.create_key("votes:write")
        asyncio.run(measure(port, honest, 2.0))
        before = asyncio.run(measure(port, honest, BEFORE_SECONDS))
        with running(lever, port, attacker):
            asyncio.run(measure(port, honest, SETTLING_SECONDS))
            during = asyncio.run(measure(port, honest, DURING_SECONDS))
        ratio = quantile(during.votes, 0.99) / quantile(before.votes, 0.99)
        print(f"\n{lever}\n  before: {before}\n  during: {during}\n  ratio of the votes' p99: {ratio:.2f}")
        limit = RATIO_MAX * quantile(before.votes, 0.99) + ROOM_SECONDS
        assert quantile(during.votes, 0.99) < limit
        assert instance.process.poll() is None


@contextmanager
def running(lever: str, port: int, key: str) -> Iterator[None]:
    process = get_context("spawn").Process(target=run, args=(lever, port, key), daemon=True)
    process.start()
    try:
        yield
        assert process.is_alive()
    finally:
        process.kill()
        process.join()


async def measure(port: int, key: str, seconds: float) -> Times:
    times = Times()
    tasks = [
        *(asyncio.create_task(_vote(port, key, times)) for _ in range(VOTERS)),
        asyncio.create_task(_check_health(port, times)),
        asyncio.create_task(_send_bulk(port, key, times)),
    ]
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
    return times


async def _vote(port: int, key: str, times: Times) -> None:
    """A voter after the other on one connection, which is opened again when the server has closed it."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while True:
                times.votes.append(await _timed(reader, writer, _post("/v1/votes", key, "application/json")))
                await asyncio.sleep(PAUSE_SECONDS)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()


async def _send_bulk(port: int, key: str, times: Times) -> None:
    """Until it is stored: what counts is how long an honest sender is delayed."""
    while True:
        began = time.perf_counter()
        status = 0
        while status != 200:
            status = await _bulk_once(port, key)
        times.bulk.append(time.perf_counter() - began)
        await asyncio.sleep(0.2)


async def _bulk_once(port: int, key: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(_post("/v1/votes/bulk", key, "application/x-ndjson"))
        return await read_answer(reader)
    except (OSError, asyncio.IncompleteReadError):
        return 0
    finally:
        writer.close()
        await asyncio.sleep(0.02)


async def _check_health(port: int, times: Times) -> None:
    while True:
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            await read_answer(reader)
        except (OSError, asyncio.IncompleteReadError):
            pass
        writer.close()
        times.health.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE_SECONDS)


async def _timed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> float:
    began = time.perf_counter()
    writer.write(request)
    await read_answer(reader)
    return time.perf_counter() - began


def _post(path: str, key: str, media_type: str) -> bytes:
    body = json.dumps({"tool": TOOL, "choice": "ship", "voter": str(uuid4())}).encode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Type: {media_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
