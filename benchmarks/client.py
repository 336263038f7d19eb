"""A load client that costs little: keep-alive connections, one request in flight on each, bytes made beforehand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

from msgspec import Struct


class Load(Struct, frozen=True):
    """What a run of requests came to. ``latencies`` in seconds, sorted."""

    seconds: float
    statuses: dict[int, int]
    latencies: list[float]

    @property
    def rate(self) -> float:
        """Requests answered 200 per second."""
        return self.statuses.get(200, 0) / self.seconds

    def percentile(self, part: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(part * len(self.latencies)))]


def post(path: str, body: bytes, headers: Sequence[str] = ()) -> bytes:
    """A whole HTTP/1.1 request."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def drive(port: int, requests: Sequence[bytes], connections: int) -> Load:
    """Send every request once, spread over the connections; returns when all are answered."""
    turn = iter(requests)
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    started = time.perf_counter()
    await asyncio.gather(*(_connection(port, turn, latencies, statuses) for _ in range(connections)))
    return Load(time.perf_counter() - started, statuses, sorted(latencies))


async def _connection(
    port: int, turn: Iterator[bytes], latencies: list[float], statuses: dict[int, int]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    for request in turn:
        started = time.perf_counter()
        writer.write(request)
        status = await _answer(reader)
        latencies.append(time.perf_counter() - started)
        statuses[status] = statuses.get(status, 0) + 1
    writer.close()


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].partition(b"\r")[0]
    if length:
        await reader.readexactly(int(length))
    return int(head[9:12])
