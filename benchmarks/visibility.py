"""The delay from the answer to a vote until `GET tally` includes it, while another load runs."""

from __future__ import annotations

import asyncio
import json
import time
from asyncio import StreamReader, StreamWriter

from benchmarks.client import post
from benchmarks.votes import TOOLS, uniform


async def measure_delays(port: int, key: str, seconds: float) -> list[float]:
    """Seconds from each acknowledgement to a tally that includes the vote, sorted. One vote at a time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    headers = ["Content-Type: application/json", f"Authorization: Bearer {key}"]
    delays = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        voted = json.loads(await _ask(reader, writer, post("/v1/votes", uniform(), headers)))
        acknowledged = time.perf_counter()
        await _ask(reader, writer, _tally(voted["position"]))
        delays.append(time.perf_counter() - acknowledged)
    writer.close()
    return sorted(delays)


def _tally(position: str) -> bytes:
    path = f"/v1/tools/{TOOLS[0]}/tally?min_position={position}"
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


async def _ask(reader: StreamReader, writer: StreamWriter, request: bytes) -> bytes:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    status, length = int(head[9:12]), head.lower().partition(b"content-length:")[2].partition(b"\r")[0]
    body = await reader.readexactly(int(length))
    assert status == 200, body
    return body
