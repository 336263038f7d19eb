"""What is measured, as processes: a whole Shiplog, and the apps that answer nothing."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct


class Shiplog(Struct, frozen=True):
    port: int
    data: Path

    def key(self) -> str:
        words = ["keys", "create", "bench", "--scope", "votes:write", "--json", "--data", str(self.data)]
        done = subprocess.run([sys.executable, "-m", "services.cli", *words], capture_output=True, check=True)
        return str(json.loads(done.stdout)["key"])


@contextmanager
def shiplog(data: Path) -> Iterator[Shiplog]:
    """`shiplog up`: one API process and one worker."""
    port = free_port()
    command = [sys.executable, "-m", "services.cli", "up", "--data", str(data), "--port", str(port)]
    with _process(command, port):
        yield Shiplog(port, data)


@contextmanager
def nothing(target: str, *options: str) -> Iterator[int]:
    """An app of benchmarks/limits.py on Granian, as Shiplog's API runs on it; its port."""
    port = free_port()
    granian = [sys.executable, "-m", "granian", "--interface", "asgi", "--loop", "uvloop", "--no-ws"]
    with _process(
        [*granian, "--log-level", "error", "--port", str(port), *options, f"benchmarks.limits:{target}"], port
    ):
        yield port


@contextmanager
def _process(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port} after a minute")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
