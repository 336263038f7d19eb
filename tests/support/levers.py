"""Levers: what one client can do to slow the answers to others. Each runs in a process of its own until it is ended."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from typing import TypeAlias

TOOL = "smolagents-2-0"
_OPENING_MAX = 100
Lever: TypeAlias = Callable[[int, str], Awaitable[None]]


def run(name: str, port: int, key: str) -> None:
    _, hard = getrlimit(RLIMIT_NOFILE)
    setrlimit(RLIMIT_NOFILE, (hard, hard))
    asyncio.run(LEVERS[name](port, key))


async def idle_connections(port: int, _: str) -> None:
    """2,300 connections that sent one request and keep quiet, each opened again when it is closed."""
    opening = asyncio.Semaphore(_OPENING_MAX)

    async def one() -> None:
        while True:
            with suppress(OSError):
                async with opening:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
                await reader.read()
                writer.close()
            await asyncio.sleep(1)

    await asyncio.gather(*(one() for _ in range(2_300)))


async def unread_streams(port: int, _: str) -> None:
    """1,000 live streams that read nothing, from a thousand addresses."""
    kept = []
    for number in range(1_000):
        opened = socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        opened.bind((f"127.1.{number // 250}.{number % 250 + 1}", 0))
        opened.connect(("127.0.0.1", port))
        opened.sendall(f"GET /v1/tallies/stream?tools={TOOL} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        kept.append(opened)
    await asyncio.Future()


async def dripped_bulk(port: int, key: str) -> None:
    """Eight bulk bodies of one key, a byte every 200 ms."""
    line = json.dumps({"tool": TOOL, "choice": "ship", "voter": "drip"}).encode() + b"\n"

    async def one() -> None:
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                ended = asyncio.create_task(reader.read())
                writer.write(_bulk_head(key, 1_000_000))
                for byte in line * 10_000:
                    if ended.done():
                        break
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.2)
                writer.close()
            await asyncio.sleep(0.2)

    await asyncio.gather(*(one() for _ in range(8)))


async def min_position(port: int, _: str) -> None:
    """300 requests that wait for positions, one far beyond the head, one of a shard that does not exist."""
    await _repeat(
        port, 300, [_get(f"/v1/tallies?tools={TOOL}&min_position={at}") for at in ("1.99999999", "99.1")]
    )


async def metrics(port: int, _: str) -> None:
    """Two clients that fetch /metrics, and a thousand made-up paths."""
    made_up = [_get(f"/v1/tools/no-{n}/tally") for n in range(1_000)]
    await asyncio.gather(_repeat(port, 2, [_get("/metrics")]), _repeat(port, 2, made_up))


async def bombs(port: int, key: str) -> None:
    """Eight packed bulk bodies at once: line breaks, blank and bad lines, one long line, and deep nesting."""
    bodies = [b"\n" * 2**26, b"x\n" * 2**24, b"x" * 2**26, b" \n" * 2**25, b'{"a":' * 2**22]
    packed = [gzip.compress(body) for body in bodies]
    await _repeat(port, 8, [_bulk_head(key, len(each), "gzip") + each for each in packed])


async def _repeat(port: int, connections: int, requests: list[bytes]) -> None:
    """Each connection sends the next request when the last is answered."""

    async def one(number: int) -> None:
        while True:
            with suppress(OSError, asyncio.IncompleteReadError, ValueError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                while True:
                    number += 1
                    writer.write(requests[number % len(requests)])
                    await read_answer(reader)
            await asyncio.sleep(0.05)

    await asyncio.gather(*map(one, range(connections)))


async def read_answer(reader: asyncio.StreamReader) -> int:
    """The status. Raises ConnectionResetError when the server closes the connection after it."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    await reader.readexactly(int(fields[b"content-length"]))
    if fields.get(b"connection") == b"close":
        raise ConnectionResetError(int(head[9:12]))
    return int(head[9:12])


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def _bulk_head(key: str, length: int, encoding: str | None = None) -> bytes:
    packed = f"Content-Encoding: {encoding}\r\n" if encoding else ""
    return (
        f"POST /v1/votes/bulk HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n{packed}"
        f"Content-Type: application/x-ndjson\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


LEVERS: dict[str, Lever] = {
    each.__name__.replace("_", " "): each
    for each in (idle_connections, unread_streams, dripped_bulk, min_position, metrics, bombs)
}
