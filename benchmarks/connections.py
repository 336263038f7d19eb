"""What open connections cost an API process in memory, one crowd after another: `python -m benchmarks.connections`."""

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
LONGEST_HEAD, LARGEST_VOTE, LARGEST_BODY = 15_000, 16 * 1024, 64 * 1024
STREAM = "/v1/tallies/stream?tools=uv,aider"
SOURCES = 8  # addresses of ours, since one has 28,000 ports
EACH = 10_000  # connections of one process of ours, which may open so many files and no more
SECONDS = 3.0
AT_ONCE = 1_000  # connections being opened
OPENING_SECONDS = 8
PIECES = 8
IP_BIND_ADDRESS_NO_PORT = 24


class Seen(Struct):
    """What a crowd's connections came to."""

    opened: int = 0
    closed: int = 0
    answers: dict[int, int] = {}


class Held(Struct, frozen=True):
    """Of a process, in MiB."""

    rss: float
    pss: float


def slowly(head: bytes, body: bytes) -> list[bytes]:
    """All but the last byte, in pieces."""
    size = -(-len(body) // PIECES)
    return [head, *(body[start : start + size] for start in range(0, len(body) - 1, size))]


def kinds(key: str) -> dict[str, Callable[[], list[bytes]]]:
    """What each connection of a crowd sends, a piece at a time; answers are only read where said so."""
    bearer, plain = f"Authorization: Bearer {key}", "Content-Type: application/json"
    votes = cycle(singles(50_000, key))
    half, long_half = b"GET / HTTP/1.1\r\nHost: a\r\nX-Half: ", b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: "
    vote = post("/v1/votes", b" " * LARGEST_VOTE, [bearer, plain])
    body = post("/v1/webhooks", b" " * LARGEST_BODY, [bearer, plain]).replace(
        b"POST /v1/webhooks", b"PUT /v1/tools/uv"
    )
    return {
        "idle": list,
        "half a head": lambda: [half],
        "half a head of 15 KB": lambda: [long_half + b"a" * LONGEST_HEAD],
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
    """Sends what its kind sends. Votes go on, one after the other, as they are answered."""

    def __init__(
        self, seen: Seen, pieces: list[bytes], more: Callable[[], list[bytes]] | None, reads: bool
    ) -> None:
        self._seen, self._pieces, self._more, self._reads = seen, pieces, more, reads
        self.transport: Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(Transport, transport)
        self._seen.opened += 1

    def send_next(self) -> None:
        if self.transport is not None and not self._reads:
            self.transport.pause_reading()
        if self.transport is not None and self._pieces and not self.transport.is_closing():
            with suppress(RuntimeError):  # closed by the server a moment ago
                self.transport.write(self._pieces.pop(0))

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 "):
            status = int(data[9:12])
            self._seen.answers[status] = self._seen.answers.get(status, 0) + 1
            if self._more is not None:
                self._pieces = self._more()
                asyncio.get_running_loop().call_later(status == 503, self.send_next)

    def connection_lost(self, _: Exception | None) -> None:
        self._seen.closed += 1
        self.transport = None


async def crowd(
    port: int, pid: int, many: int, kind: str, sends: Callable[[], list[bytes]], seconds: float
) -> tuple[Held, Seen]:
    """The most that the process holds while the crowd is there."""
    seen, room = Seen(), asyncio.Semaphore(AT_ONCE)
    reads, more = not kind.endswith("unread"), sends if kind == "votes" else None
    connections = [_Connection(seen, sends(), more, reads) for _ in range(many)]
    most = asyncio.create_task(_most(pid))
    sources = cycle((f"127.0.0.{number}", 0) for number in range(2, 2 + SOURCES))
    opening = [
        asyncio.create_task(_open(each, room, source, port, reads=reads))
        for each, source in zip(connections, sources, strict=False)
    ]
    _, left = await asyncio.wait(opening, timeout=OPENING_SECONDS)
    for task in left:
        task.cancel()
    for _ in range(PIECES):
        await asyncio.sleep(seconds / PIECES)
        for each in connections if more is None else ():
            each.send_next()
    most.cancel()
    held = await most
    for each in connections:
        if each.transport is not None:
            each.transport.abort()
    return held, seen


async def _open(
    connection: _Connection, room: asyncio.Semaphore, source: tuple[str, int], port: int, *, reads: bool
) -> None:
    async with room:
        try:
            async with asyncio.timeout(1):  # who does not get as far as the backlog
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


async def _most(pid: int) -> Held:
    most = held(pid)
    try:
        while True:
            await asyncio.sleep(0.2)
            now = held(pid)
            most = Held(max(most.rss, now.rss), max(most.pss, now.pss))
    except asyncio.CancelledError:
        return most


def held(pid: int) -> Held:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines[1:]}
    return Held(sizes["Rss"], sizes["Pss"])


async def measure(crowds: list[int], table: Table) -> None:
    """Against one process, so that what one crowd leaves behind is there when the next comes."""
    with tempfile.TemporaryDirectory(prefix="shiplog-bench-") as folder, shiplog(Path(folder)) as server:
        key, pid = server.key("catalogue:write"), server.serving()
        console = Console(stderr=True, width=120)
        table.add_row("at rest", "", f"{held(pid).rss:.0f}", f"{held(pid).pss:.0f}", "", "")
        for many in crowds:
            for kind in kinds(key):
                most, seen = await _shared(server.port, pid, many, kind, key)
                answers = ", ".join(f"{count:,} x {status}" for status, count in sorted(seen.answers.items()))
                row = (kind, f"{many:,}", f"{most.rss:.0f}", f"{most.pss:.0f}", f"{seen.opened:,}", answers)
                console.print(*row, sep=" | ", highlight=False)
                table.add_row(*row)


async def _shared(port: int, pid: int, many: int, kind: str, key: str) -> tuple[Held, Seen]:
    """A crowd larger than one process may be is shared by several."""
    shares = [min(EACH, many - start) for start in range(0, many, EACH)]
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(len(shares), get_context("spawn")) as pool:
        parts = await asyncio.gather(
            *(loop.run_in_executor(pool, _alone, port, pid, share, kind, key) for share in shares)
        )
    all_held, all_seen = zip(*parts, strict=True)
    most = Held(max(each.rss for each in all_held), max(each.pss for each in all_held))
    answers = sum((Counter(each.answers) for each in all_seen), Counter[int]())
    return most, Seen(sum(each.opened for each in all_seen), sum(each.closed for each in all_seen), answers)


def _alone(port: int, pid: int, many: int, kind: str, key: str) -> tuple[Held, Seen]:
    return asyncio.run(crowd(port, pid, many, kind, kinds(key)[kind], SECONDS))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crowds", type=int, nargs="*", default=[2_000, 6_000, 20_000])
    found = Table("what each has sent", "connections", "RSS, MiB", "PSS, MiB", "opened", "answers")
    asyncio.run(measure(parser.parse_args().crowds, found))
    Console(width=120).print(found)
