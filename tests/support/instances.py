"""What tests start and wait for: whole instances as processes of their own, and conditions that come true."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
# Whoever tests something else votes as often as the test needs, all from one address.
UNLIMITED = {"limit_visitor": 0, "limit_address": 0, "limit_login": 0}
# Receivers of webhooks listen on loopback.
OWN_NETWORKS = {"SHIPLOG_WEBHOOK_NETWORKS": "127.0.0.0/8"}
COMMAND = [sys.executable, "-m", "services.cli"]


@dataclass(frozen=True)
class Instance:
    """A running `shiplog up`, its first API's address and its data folder."""

    url: str
    data: Path
    process: subprocess.Popen[str]

    def command(self, *arguments: str) -> str:
        """Run a `shiplog` command on this instance; its output."""
        done = subprocess.run(
            [*COMMAND, *arguments, "--data", str(self.data)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    def create_key(self, *scopes: str) -> str:
        named = [word for scope in scopes for word in ("--scope", scope)]
        return str(json.loads(self.command("keys", "create", "test", *named, "--json"))["key"])


@contextmanager
def start_instance(data: Path, *arguments: str, port: int | None = None) -> Iterator[Instance]:
    """`shiplog up` until the block ends; then SIGTERM, and it must end cleanly."""
    port = port or free_port()
    command = [*COMMAND, "up", "--data", str(data), "--port", str(port), *arguments]
    data.mkdir(parents=True, exist_ok=True)
    log = (data / "up.log").open("a")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=_environment())
    try:
        _wait_for_ready_line(process, data / "up.log")
        # A pipe that nobody reads fills up, and then whoever writes waits for ever.
        threading.Thread(target=process.stdout.read, daemon=True).start()  # type: ignore[union-attr]
        yield Instance(f"http://127.0.0.1:{port}", data, process)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _environment() -> dict[str, str]:
    """Ours, without what would point the instance at other databases."""
    ours = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    return {f"SHIPLOG_{name.upper()}": str(quota) for name, quota in UNLIMITED.items()} | OWN_NETWORKS | ours


def _wait_for_ready_line(process: subprocess.Popen[str], log: Path) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready "):
            return
    raise AssertionError(f"shiplog up ended before it was ready:\n{log.read_text()[-4000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(true: Callable[[], T], seconds: float = 10.0) -> T:
    """Poll until the condition holds; its value."""
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, f"not true within {seconds} s: {true}"
        time.sleep(0.01)
    return value


def day_of(moment: datetime) -> int:
    """Of a time in UTC, in days since 1970-01-01."""
    return (moment.date() - date(1970, 1, 1)).days
