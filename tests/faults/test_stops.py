"""Stops under load, with 200 open streams: they are quick, streams end whole, and no acknowledged vote is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from services.embedded.postgres import Postgres
from tests.oracles import votes as vote_oracle
from tests.support.instances import Instance, start_instance
from tests.support.load import eventually

pytestmark = pytest.mark.slow

STOPS, STREAMS, STOP_SECONDS_MAX = 20, 200, 3.0
TOOL = "smolagents-2-0"
STREAM = f"GET /v1/tallies/stream?tools={TOOL} HTTP/1.1\r\nHost: shiplog\r\n\r\n".encode()


async def test_a_stop_with_open_streams_is_quick_and_loses_nothing(tmp_path: Path) -> None:
    data, acknowledged, seconds = tmp_path / "data", list[str](), list[float]()
    for _ in range(STOPS):
        with start_instance(data) as instance:
            key = await asyncio.to_thread(instance.create_key, "votes:write")
            seconds.append(await _stop_under_load(instance, key, acknowledged))
            assert instance.process.returncode == 0
    assert "Killing" not in (data / "up.log").read_text()
    print(
        f"\n{STOPS} stops with {STREAMS} streams: {len(acknowledged)} votes acknowledged, longest {max(seconds):.2f} s"
    )
    server = Postgres.start(data)
    stored = {str(UUID(bytes=each.id)) for each in (await vote_oracle.read_log(data)).events}
    server.stop()
    assert stored.issuperset(acknowledged)
    assert max(seconds) < STOP_SECONDS_MAX


async def _stop_under_load(instance: Instance, key: str, acknowledged: list[str]) -> float:
    """Seconds from SIGTERM to the end, while votes are sent. Each stream must end whole."""
    port = int(instance.url.rpartition(":")[2])
    streams = await asyncio.gather(*(_open_stream(port) for _ in range(STREAMS)))
    voting = [asyncio.create_task(_vote_until_refused(instance.url, key, acknowledged)) for _ in range(8)]
    await eventually(lambda: len(acknowledged) > 0)
    began = time.monotonic()
    instance.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(instance.process.wait, 30)
    seconds = time.monotonic() - began
    for reader, writer in streams:
        assert (await reader.read()).endswith(b"\r\n0\r\n\r\n")
        writer.close()
    await asyncio.gather(*voting)
    return seconds


async def _open_stream(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(STREAM)
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def _vote_until_refused(url: str, key: str, acknowledged: list[str]) -> None:
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client:
        for number in range(100_000):
            vote = {"tool": TOOL, "choice": "ship", "voter": f"{os.urandom(8).hex()}-{number}"}
            try:
                answer = await client.post("/v1/votes", json=vote)
            except httpx.TransportError:
                return
            if answer.status_code != 200:
                assert answer.status_code == 503, answer.text
                return
            acknowledged.append(json.loads(answer.content)["id"])
