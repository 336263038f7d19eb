"""More clients than one process accepts connections: it keeps its limit, and every client gets an answer in the end."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.instances import Instance, start_instance

CONNECTIONS_MAX, CLIENTS = 64, 200
TIMEOUT_SECONDS = 60
OTHER_FILES_MAX = 64  # open in the process besides connections of clients


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Instance]:
    monkeypatch.setenv("SHIPLOG_CONNECTIONS", str(CONNECTIONS_MAX))
    with start_instance(tmp_path / "data") as running:
        yield running


class Sender:
    """Keeps its connection and sends again and again, until every client has been answered."""

    def __init__(self, port: int, key: str, name: str, waiting: set[str], seen: Counter[str]) -> None:
        self.port, self.name, self.waiting, self.seen = port, name, waiting, seen
        self.statuses: Counter[int] = Counter()
        body = json.dumps({"tool": "smolagents-2-0", "choice": "ship", "voter": name}).encode()
        self.request = (
            b"POST /v1/votes HTTP/1.1\r\nHost: shiplog\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b" % (key.encode(), len(body), body)
        )

    async def send(self) -> None:
        while self.waiting:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            while self.waiting and await self._send_one(reader, writer):
                pass
            writer.close()

    async def _send_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection stays open. Raises if an answer is cut off."""
        writer.write(self.request)
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:-2])
        await reader.readexactly(int(fields[b"content-length"]))
        status, stays_open = int(head[9:12]), fields.get(b"connection") != b"close"
        assert status == 200 or (status == 503 and b"retry-after" in fields), head
        self.statuses[status] += 1
        self.seen["closed"] += not stays_open
        if status == 200:
            self.waiting.discard(self.name)
        return stays_open


def test_every_client_is_answered_in_the_end(instance: Instance) -> None:
    key, port = instance.create_key("votes:write"), urlsplit(instance.url).port or 0
    waiting, seen = {f"voter-{n}" for n in range(CLIENTS)}, Counter[str]()

    async def send_all() -> None:
        senders = [Sender(port, key, name, waiting, seen) for name in sorted(waiting)]
        watching = asyncio.create_task(watch(instance.process.pid, seen))
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await asyncio.gather(*(sender.send() for sender in senders))
        watching.cancel()

    asyncio.run(send_all())
    assert not waiting
    assert seen["closed"]
    if Path("/proc/self/fd").exists():
        assert CONNECTIONS_MAX < seen["files"] <= CONNECTIONS_MAX + OTHER_FILES_MAX


async def watch(pid: int, seen: Counter[str]) -> None:
    """Records the largest number of files that a process of the instance has open."""
    while True:
        for each in descendants(pid):
            seen["files"] = max(seen["files"], open_files(each))
        await asyncio.sleep(0.05)


def descendants(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in children for each in descendants(int(child)))]


def open_files(pid: int) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0
