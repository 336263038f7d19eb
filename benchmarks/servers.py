"""The measured processes: a whole Shiplog, and the apps with a fixed answer."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from msgspec import Struct


class Shiplog(Struct, frozen=True):
    ports: list[int]
    data: Path
    pid: int

    @property
    def port(self) -> int:
        return self.ports[0]

    def peak_memory(self) -> float:
        """The peak resident memory of the largest API process, in MiB; 0 where there is no /proc."""
        return max(_peak(pid) for parent in self._api_pids() for pid in [parent, *_children(parent)])

    def api_pid(self) -> int:
        """The process that listens on the first port."""
        return _children(self._api_pids()[0])[0]

    def _api_pids(self) -> list[int]:
        return [pid for pid in _children(self.pid) if "\0serve\0" in _read(pid, "cmdline")]

    def key(self, *more: str) -> str:
        scopes = [word for scope in ("votes:write", *more) for word in ("--scope", scope)]
        arguments = ["keys", "create", "bench", *scopes, "--json", "--data", str(self.data)]
        done = subprocess.run(
            [sys.executable, "-m", "services.cli", *arguments], capture_output=True, check=True
        )
        return str(json.loads(done.stdout)["key"])


@contextmanager
def shiplog(data: Path) -> Iterator[Shiplog]:
    """`shiplog up` with two API processes, of which most loads use the first, and one worker."""
    port = free_port(following=1)
    command = [
        sys.executable,
        "-m",
        "services.cli",
        "up",
        "--data",
        str(data),
        "--port",
        str(port),
        "--api",
        "2",
    ]
    with _process(command, port + 1) as pid:
        _wait_until_ready(port, port + 1)
        yield Shiplog([port, port + 1], data, pid)


@contextmanager
def fixed_answers(target: str, *options: str) -> Iterator[int]:
    """An app of benchmarks/limits.py on Granian, with the options of Shiplog's API. Yields its port."""
    port = free_port()
    granian = [
        sys.executable,
        "-m",
        "granian",
        "--interface",
        "asgi",
        "--loop",
        "uvloop",
        "--http",
        "1",
        "--no-ws",
    ]
    with _process(
        [*granian, "--log-level", "error", "--port", str(port), *options, f"benchmarks.limits:{target}"], port
    ):
        yield port


@contextmanager
def _process(command: list[str], port: int) -> Iterator[int]:
    # No sealing here: benchmarks/segments.py measures it.
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "SHIPLOG_SEGMENTS": ""})
    try:
        _wait_for(port, process)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _children(pid: int) -> list[int]:
    return [int(each) for each in _read(pid, f"task/{pid}/children").split()]


def _peak(pid: int) -> float:
    lines = _read(pid, "status").splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def _read(pid: int, what: str) -> str:
    """Empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/{what}").read_text()
    except OSError:
        return ""


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port} after a minute")


def _wait_until_ready(*ports: int) -> None:
    """`up` listens before its databases run."""
    deadline = time.monotonic() + 60
    for port in ports:
        while time.monotonic() < deadline and not _is_ready(port):
            time.sleep(0.05)


def _is_ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def free_port(following: int = 0) -> int:
    """A free port of which the ``following`` ones are free as well."""
    while True:
        with ExitStack() as stack:
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            with suppress(OSError, OverflowError):
                for each in range(port + 1, port + 1 + following):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", each))
                return port
