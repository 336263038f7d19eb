"""`shiplog serve` and `shiplog up`: errors at the start, the addresses that are printed, and the order of a stop."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest

from services.cli.commands import up
from services.cli.commands.keys import create_key
from services.public_address import parse_public_url
from services.resources import open_pool
from services.settings import Settings
from tests.support.instances import COMMAND, SECRET, free_port, wait_until
from tests.support.stage import list_tool

# It listens before it connects to the database.
NO_DATABASE = {"DATABASE_URL": "postgresql://127.0.0.1:1/none", "SHIPLOG_SECRET": SECRET.decode()}
STREAMS = 10
STREAM = b"GET /v1/tallies/stream?tools=quill HTTP/1.1\r\nHost: shiplog\r\n\r\n"
IDLE = b"GET /healthz HTTP/1.1\r\nHost: shiplog\r\n\r\n"
DRIPPED = b"POST /v1/session HTTP/1.1\r\nHost: shiplog\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
CUT_OFF_HEAD = b"GET /v1/tools HTTP/1.1\r\nHo"


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[str]
    port: int

    def send(self, request: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.sendall(request)
        return connection

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=10).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def served(settings: Settings, *arguments: str) -> Iterator[Server]:
    port = free_port()
    environ = os.environ | {
        "DATABASE_URL": settings.database_url,
        "SHIPLOG_SECRET": settings.secret.decode(),
    }
    command = [*COMMAND, "serve", "--port", str(port), *arguments]
    process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
    server = Server(process, port)
    try:
        wait_until(server.is_ready, 60)
        yield server
    finally:
        process.terminate()  # kill -9 would leave its processes running
        process.wait(20)


@pytest.mark.parametrize(
    ("taken", "host", "processes"),
    [
        ("127.0.0.1", "127.0.0.1", "1"),
        ("127.0.0.1", "127.0.0.1", "2"),
        ("127.0.0.1", "0.0.0.0", "2"),
        ("::", "127.0.0.1", "1"),
    ],
)
def test_the_error_for_a_taken_port_is_one_line(taken: str, host: str, processes: str) -> None:
    """Even if the other server lets programs of its user share the port, as another Shiplog might."""
    family = socket.AF_INET6 if ":" in taken else socket.AF_INET
    with socket.create_server(
        (taken, 0), family=family, reuse_port=True, dualstack_ipv6=":" in taken
    ) as other:
        port = other.getsockname()[1]
        message = refused("--host", host, "--port", str(port), "--processes", processes)
    assert f"Cannot listen on {host}, port {port}: Address already in use." in message
    assert "Choose another --host or --port." in message


def test_the_error_for_a_host_that_does_not_resolve_is_one_line() -> None:
    assert "'nowhere.invalid'" in refused("--host", "nowhere.invalid")


def refused(*arguments: str) -> str:
    command = [*COMMAND, "serve", *arguments]
    served = subprocess.run(command, env=os.environ | NO_DATABASE, capture_output=True, text=True, timeout=60)
    assert served.returncode == 2
    assert served.stderr.count("\n") == 1
    return served.stderr


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_a_stop_ends_streams_then_requests_and_kills_nothing(
    settings: Settings, processes: str
) -> None:
    async with await open_pool(settings, size=2) as pool:
        key = (await create_key(settings, pool, "test", ("catalogue:write",))).key
    with served(settings, "--processes", processes) as server:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
            await list_tool(client, {"Authorization": f"Bearer {key}"})
        dripped = server.send(DRIPPED)
        streams = [server.send(STREAM) for _ in range(STREAMS)]
        assert all(b"text/event-stream" in stream.recv(400) for stream in streams)
        others = [server.send(request) for request in (IDLE, b"", CUT_OFF_HEAD)]

        server.process.terminate()

        assert all(rest_of(stream).endswith(b"\r\n0\r\n\r\n") for stream in streams)
        status = rest_of(dripped).partition(b"\r\n")[0]
        assert b" 503 " in status or status == b""  # not even its head was read
        assert server.process.wait(20) == 0
        assert "Killing" not in server.process.stderr.read()  # type: ignore[union-attr]
        for connection in (*streams, *others, dripped):
            connection.close()


async def test_processes_of_one_port_give_the_same_metrics(settings: Settings) -> None:
    with served(settings, "--processes", "2") as server:
        url = f"http://127.0.0.1:{server.port}"
        before = await answered(url)
        for _ in range(10):
            await fetch(f"{url}/healthz")
        assert [await answered(url) for _ in range(6)] == [before + 10] * 6


async def answered(url: str) -> float:
    """Requests of /healthz counted so far."""
    lines = (await fetch(f"{url}/metrics")).splitlines()
    counted = [line for line in lines if line.startswith("shiplog_requests_total{") and "/healthz" in line]
    return sum(float(line.rpartition(" ")[2]) for line in counted)


async def fetch(url: str) -> str:
    """Over a new connection, which either process may accept."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(url)
    assert answer.status_code == 200
    return answer.text


def rest_of(connection: socket.socket) -> bytes:
    """What arrives until the other side closes the connection."""
    received = b""
    while piece := connection.recv(65_536):
        received += piece
    return received


def test_a_stop_while_postgres_does_not_answer_kills_nothing() -> None:
    """The server accepts and stays silent; the process is still starting."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://127.0.0.1:{silent.getsockname()[1]}/none"
        command = [*COMMAND, "serve", "--port", str(free_port())]
        environ = os.environ | NO_DATABASE | {"DATABASE_URL": url}
        process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
        connection, _ = silent.accept()
        process.terminate()
        _, printed = process.communicate(timeout=30)
        connection.close()
    assert process.returncode == 0
    assert "Killing" not in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("command", ["serve", "work", "up"])
def test_the_error_for_a_wrong_public_url_is_one_line(command: str) -> None:
    environ = os.environ | NO_DATABASE | {"SHIPLOG_PUBLIC_URL": "foo"}
    ended = subprocess.run(
        [*COMMAND, command],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("shiplog: SHIPLOG_PUBLIC_URL is 'foo': ")
    assert ended.stderr.count("\n") == 1


async def test_up_prints_the_public_address_before_the_ready_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    greeting = up.Greeting(None, "shiplog users password editor", empty=False)
    public = parse_public_url("https://verdicts.example/ship")
    await up._announce_ready([], "http://127.0.0.1:8000", greeting, public)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "public https://verdicts.example/ship"
    assert printed[-1] == "ready http://127.0.0.1:8000"
