"""A cheap load client: keep-alive connections, one request in flight on each, requests built beforehand."""

from __future__ import annotations

import asyncio
import time
from asyncio import Future, Protocol, Transport
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import cast

from msgspec import Struct

UNAVAILABLE = 503


class Load(Struct, frozen=True):
    """The result of a run. ``latencies`` in seconds, sorted."""

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


async def drive(
    port: int,
    requests: Sequence[bytes],
    connections: int,
    rate: float | None = None,
    *,
    retry: bool = False,
) -> Load:
    """Send every request once, spread over the connections. Returns when all are answered.

    With a ``rate`` (requests a second) each request has a scheduled time, and its latency counts from there, so that a
    server that falls behind does not hide the waiting (coordinated omission). With ``retry`` a request answered 503 is
    sent again after its Retry-After, until it succeeds.
    """
    run = _Run(port, requests, rate, retry=retry)
    loop = asyncio.get_running_loop()
    senders = [
        (await loop.create_connection(lambda: _Sender(run), "127.0.0.1", port))[1] for _ in range(connections)
    ]
    started = run.begin(loop)
    for sender in senders:
        sender.send_next()
    await asyncio.gather(*(sender.done for sender in senders))
    return Load(time.perf_counter() - started, dict(run.statuses), sorted(run.latencies))


class _Run:
    """State shared by all connections of a run."""

    def __init__(self, port: int, requests: Sequence[bytes], rate: float | None, *, retry: bool) -> None:
        self.port, self.retry = port, retry
        self.requests: Iterator[tuple[int, bytes]] = iter(enumerate(requests))
        self.rate = rate
        self.started = 0.0
        self.latencies: list[float] = []
        self.statuses: Counter[int] = Counter()

    def begin(self, loop: asyncio.AbstractEventLoop) -> float:
        self.loop, self.started = loop, time.perf_counter()
        return self.started

    def due(self, number: int) -> float:
        return self.started + number / self.rate if self.rate else 0.0


class _Sender(Protocol):
    """One connection at a time, replaced by a new one after an answer with `Connection: close`.

    An answer is complete when its body has as many bytes as Content-Length says.
    """

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._closed = False
        self._received = b""
        self._since = 0.0
        self.done: Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(Transport, transport)
        if self._closed:
            self._closed = False
            self._transport.write(self._request)

    def send_next(self) -> None:
        for number, request in self._run.requests:
            due = self._run.due(number)
            wait = due - time.perf_counter() if due else 0.0
            if wait > 0:
                self._run.loop.call_later(wait, self._send, request, due)
            else:
                self._send(request, due or time.perf_counter())
            return
        self._transport.close()
        self.done.set_result(None)

    def _send(self, request: bytes, since: float) -> None:
        self._since, self._request = since, request
        if self._closed:
            self._reconnect = self._run.loop.create_task(
                self._run.loop.create_connection(lambda: self, "127.0.0.1", self._run.port)
            )
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data
        head, end, body = received.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        self._received = b""
        if b"\r\nconnection: close" in head.lower():
            self._closed = True
            self._transport.close()
        status = int(head[9:12])
        self._run.statuses[status] += 1
        if status == UNAVAILABLE and self._run.retry:
            self._run.loop.call_later(_number(head, b"etry-After: "), self._send, self._request, self._since)
            return
        self._run.latencies.append(time.perf_counter() - self._since)
        self.send_next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._closed and not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed the connection"))


def _length(head: bytes) -> int:
    return _number(head, b"ontent-length: ")


def _number(head: bytes, name: bytes) -> int:
    """The value of a header, or 0. ``name`` lacks its first letter, which servers write in either case."""
    _, found, rest = head.lower().partition(name.lower())
    return int(rest.partition(b"\r")[0]) if found else 0
