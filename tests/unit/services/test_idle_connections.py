"""Idle connections: a saturated process closes those of the client with the most first, and none with a request."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from services.api.http.overload import idle_connections
from services.api.http.overload.idle_connections import close_idle_connections

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads TCP_INFO")

GREEDY, HONEST = "127.0.0.2", "127.0.0.3"


@pytest.fixture
async def connections(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, list[socket.socket]]]:
    """Four connections of one address and one of another, to a server in this process."""
    monkeypatch.setattr(idle_connections, "IDLE_MILLISECONDS_MIN", 0)
    accepted = asyncio.Semaphore(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.release()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    opened = {
        address: [connect(address, port) for _ in range(n)] for address, n in ((GREEDY, 4), (HONEST, 1))
    }
    for _ in range(5):
        await accepted.acquire()
    yield opened
    for each in (*opened[GREEDY], *opened[HONEST]):
        each.close()
    server.close()
    await server.wait_closed()


def connect(address: str, port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), source_address=(address, 0))


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False


async def test_the_client_with_the_most_connections_makes_room(
    connections: dict[str, list[socket.socket]],
) -> None:
    assert close_idle_connections(3, frozenset(), ()) == 3
    assert sum(map(is_closed, connections[GREEDY])) == 3
    assert not is_closed(connections[HONEST][0])


async def test_a_connection_with_a_request_stays_open(connections: dict[str, list[socket.socket]]) -> None:
    busy = {connections[GREEDY][0].getsockname(), connections[HONEST][0].getsockname()}
    assert close_idle_connections(100, busy, ()) == 3
    assert [is_closed(each) for each in connections[GREEDY]] == [False, True, True, True]
    assert not is_closed(connections[HONEST][0])


async def test_connections_of_our_proxies_come_last(connections: dict[str, list[socket.socket]]) -> None:
    assert close_idle_connections(1, frozenset(), [ip_network(f"{GREEDY}/32")]) == 1
    assert is_closed(connections[HONEST][0])


async def test_a_connection_in_use_stays_open(
    connections: dict[str, list[socket.socket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle_connections, "IDLE_MILLISECONDS_MIN", 3_600_000)
    assert close_idle_connections(100, frozenset(), ()) == 0
    assert not any(map(is_closed, connections[GREEDY]))
