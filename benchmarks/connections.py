"""Memory of an API process with many connections of different kinds: `python -m benchmarks.connections`."""

from __future__ import annotations

import argparse
import asyncio
import socket
import tempfile
from asyncio import Protocol, Transport
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from typing import cast

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from benchmarks.client import post
from benchmarks.servers import shiplog
from benchmarks.votes import singles

HOST = "Host: 127.0.0.1"
HEAD_BYTES, VOTE_BYTES, BODY_BYTES = 15_000, 16 * 1024, 64 * 1024  # just below the limits
STREAM = "/v1/tallies/stream?tools=uv,aider"
SOURCES = 8  # local addresses, since each has only 28,000 ports
PER_PROCESS_MAX = 10_000  # connections of one load process, which is limited in open files
SECONDS = 3.0
OPENING_MAX = 1_000  # connections opened concurrently
OPENING_SECONDS = 8
CHUNKS = 8
IP_BIND_ADDRESS_NO_PORT = 24


class Traffic(Struct):
    """Connections opened and closed, and answers by status."""

    opened: int = 0
    closed: int = 0
    answers: dict[int, int] = {}


class Memory(Struct, frozen=True):
    """Memory of a process in MiB: resident and proportional set size."""

    rss: float
    pss: float


def slowly(head: bytes, body: bytes) -> list[bytes]:
    """All but the last byte, in chunks."""
    size = -(-len(body) // CHUNKS)
    return [head, *(body[start : start + size] for start in range(0, len(body) - 1, size))]


def kinds(key: str) -> dict[str, Callable[[], list[bytes]]]:
    """What each connection sends, chunk by chunk, by kind. Kinds that end in "unread" do not read answers."""
    bearer, plain = f"Authorization: Bearer {key}", "Content-Type: application/json"
    votes = cycle(singles(50_000, key))
    half, long_half = b"GET / HTTP/1.1\r\nHost: a\r\nX-Half: ", b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: "
    vote = post("/v1/votes", b" " * VOTE_BYTES, [bearer, plain])
    body = post("/v1/webhooks", b" " * BODY_BYTES, [bearer, plain]).replace(
        b"POST /v1/webhooks", b"PUT /v1/tools/uv"
    )
    return {
        "idle": list,
        "half a head": lambda: [half],
        "half a head of 15 KB": lambda: [long_half + b"a" * HEAD_BYTES],
        "votes": lambda: [next(votes)],
        "16 KB votes, slowly": lambda: slowly(*split(vote)),
        "64 KB bodies, slowly": lambda: slowly(*split(body)),
        "125 KB answers, unread": lambda: [f"GET /schema/openapi.json HTTP/1.1\r\n{HOST}\r\n\r\n".encode()],
        "live streams": lambda: [f"GET {STREAM} HTTP/1.1\r\n{HOST}\r\n\r\n".encode()],
    }


def split(request: bytes) -> tuple[bytes, bytes]:
    head, end, body = request.partition(b"\r\n\r\n")
    return head + end, body


class _Connection(Protocol):
    """Sends the chunks of its kind. A connection of votes sends the next one when the last is answered."""

    def __init__(
        self, traffic: Traffic, chunks: list[bytes], more: Callable[[], list[bytes]] | None, reads: bool
    ) -> None:
        self._traffic, self._chunks, self._more, self._reads = traffic, chunks, more, reads
        self.transport: Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(Transport, transport)
        self._traffic.opened += 1

    def send_next(self) -> None:
        if self.transport is not None and not self._reads:
            self.transport.pause_reading()
        if self.transport is not None and self._chunks and not self.transport.is_closing():
            with suppress(RuntimeError):  # closed by the server a moment ago
                self.transport.write(self._chunks.pop(0))

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 "):
            status = int(data[9:12])
            self._traffic.answers[status] = self._traffic.answers.get(status, 0) + 1
            if self._more is not None:
                self._chunks = self._more()
                asyncio.get_running_loop().call_later(status == 503, self.send_next)

    def connection_lost(self, _: Exception | None) -> None:
        self._traffic.closed += 1
        self.transport = None


async def load(
    port: int, pid: int, count: int, kind: str, sends: Callable[[], list[bytes]], seconds: float
) -> tuple[Memory, Traffic]:
    """The peak memory of the process while the connections are open."""
    traffic, opening_slots = Traffic(), asyncio.Semaphore(OPENING_MAX)
    reads, more = not kind.endswith("unread"), sends if kind == "votes" else None
    connections = [_Connection(traffic, sends(), more, reads) for _ in range(count)]
    peak = asyncio.create_task(_peak(pid))
    sources = cycle((f"127.0.0.{number}", 0) for number in range(2, 2 + SOURCES))
    opening = [
        asyncio.create_task(_open(each, opening_slots, source, port, reads=reads))
        for each, source in zip(connections, sources, strict=False)
    ]
    _, left = await asyncio.wait(opening, timeout=OPENING_SECONDS)
    for task in left:
        task.cancel()
    for _ in range(CHUNKS):
        await asyncio.sleep(seconds / CHUNKS)
        for each in connections if more is None else ():
            each.send_next()
    peak.cancel()
    memory = await peak
    for each in connections:
        if each.transport is not None:
            each.transport.abort()
    return memory, traffic


async def _open(
    connection: _Connection,
    opening_slots: asyncio.Semaphore,
    source: tuple[str, int],
    port: int,
    *,
    reads: bool,
) -> None:
    async with opening_slots:
        try:
            async with asyncio.timeout(1):  # the backlog may be full
                opened = await _socket(source, port, reads)
                await asyncio.get_running_loop().create_connection(lambda: connection, sock=opened)
        except (OSError, TimeoutError):
            return
    connection.send_next()


async def _socket(source: tuple[str, int], port: int, reads: bool) -> socket.socket:
    opened = socket.socket()
    try:
        opened.setblocking(False)  # noqa: FBT003 - the name is the flag
        opened.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        if not reads:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        opened.bind(source)
        await asyncio.get_running_loop().sock_connect(opened, ("127.0.0.1", port))
    except BaseException:
        opened.close()
        raise
    return opened


async def _peak(pid: int) -> Memory:
    peak = memory_of(pid)
    try:
        while True:
            await asyncio.sleep(0.2)
            now = memory_of(pid)
            peak = Memory(max(peak.rss, now.rss), max(peak.pss, now.pss))
    except asyncio.CancelledError:
        return peak


def memory_of(pid: int) -> Memory:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
    return Memory(sizes["Rss"], sizes["Pss"])


async def measure(counts: list[int], table: Table) -> None:
    """All loads run against one process, so memory that one load does not free shows in the next."""
    with tempfile.TemporaryDirectory(prefix="shiplog-bench-") as folder, shiplog(Path(folder)) as server:
        key, pid = server.key("catalogue:write"), server.api_pid()
        console = Console(stderr=True, width=120)
        table.add_row("at rest", "", f"{memory_of(pid).rss:.0f}", f"{memory_of(pid).pss:.0f}", "", "")
        for count in counts:
            for kind in kinds(key):
                peak, traffic = await _spread(server.port, pid, count, kind, key)
                answers = ", ".join(
                    f"{number:,} x {status}" for status, number in sorted(traffic.answers.items())
                )
                row = (
                    kind,
                    f"{count:,}",
                    f"{peak.rss:.0f}",
                    f"{peak.pss:.0f}",
                    f"{traffic.opened:,}",
                    answers,
                )
                console.print(*row, sep=" | ", highlight=False)
                table.add_row(*row)


async def _spread(port: int, pid: int, count: int, kind: str, key: str) -> tuple[Memory, Traffic]:
    """Spread the connections over as many load processes as they need."""
    shares = [min(PER_PROCESS_MAX, count - start) for start in range(0, count, PER_PROCESS_MAX)]
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(len(shares), get_context("spawn")) as pool:
        parts = await asyncio.gather(
            *(loop.run_in_executor(pool, _load_process, port, pid, share, kind, key) for share in shares)
        )
    memory, all_traffic = zip(*parts, strict=True)
    peak = Memory(max(each.rss for each in memory), max(each.pss for each in memory))
    answers = sum((Counter(each.answers) for each in all_traffic), Counter[int]())
    return peak, Traffic(
        sum(each.opened for each in all_traffic), sum(each.closed for each in all_traffic), answers
    )


def _load_process(port: int, pid: int, count: int, kind: str, key: str) -> tuple[Memory, Traffic]:
    return asyncio.run(load(port, pid, count, kind, kinds(key)[kind], SECONDS))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crowds", type=int, nargs="*", default=[2_000, 6_000, 20_000])
    results = Table("each connection has sent", "connections", "RSS, MiB", "PSS, MiB", "opened", "answers")
    asyncio.run(measure(parser.parse_args().crowds, results))
    Console(width=120).print(results)
