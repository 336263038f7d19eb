"""A TCP proxy that a test makes slow, silent or broken while connections are open."""

from __future__ import annotations

import asyncio
import threading
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from urllib.parse import urlsplit, urlunsplit

DELAY_SECONDS = 2.0
DRIP_SECONDS = 0.05
_POLL_SECONDS = 0.02


class Network(Enum):
    """What happens to bytes, in both directions."""

    GOOD = "pass"
    BLACK_HOLE = "vanish, and connections stay open"
    STUCK = "wait until the network is good again"
    SLOW = "are delayed by two seconds"
    DRIP = "pass one by one"


class TcpProxy:
    """Listens on ``port`` of loopback, and connects to ``target``. It runs in a thread with an event loop of its own."""

    def __init__(self, target: int) -> None:
        self.network, self.port, self.connections = Network.GOOD, 0, 0
        self._target = target
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._started.wait(10)

    def url(self, direct: str) -> str:
        """The URL of the target with this proxy's port."""
        parts = urlsplit(direct)
        login, _, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{self.port}"))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer), return_exceptions=True)
        self.connections -= 1

    async def _pump(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._pass_on(data, writer, time.monotonic())
        finally:
            writer.close()

    async def _pass_on(self, data: bytes, writer: StreamWriter, arrived: float) -> None:
        match self.network:
            case Network.BLACK_HOLE:
                return
            case Network.STUCK:
                while self.network is Network.STUCK:  # noqa: ASYNC110 - another thread sets it
                    await asyncio.sleep(_POLL_SECONDS)
            case Network.SLOW:
                await asyncio.sleep(arrived + DELAY_SECONDS - time.monotonic())
            case Network.DRIP:
                for byte in data:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(DRIP_SECONDS if self.network is Network.DRIP else 0)
                return
        writer.write(data)
        await writer.drain()


@contextmanager
def proxy_to(target: int) -> Iterator[TcpProxy]:
    proxy = TcpProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
