"""`shiplog serve` and `shiplog up`: errors at the start, and the addresses that are printed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from services.cli.commands import up
from services.public_address import parse_public_url

# It listens before it connects to the database.
NO_DATABASE = {
    "DATABASE_URL": "postgresql://127.0.0.1:1/none",
    "SHIPLOG_SECRET": "a secret of thirty-two characters",
}


def test_the_error_for_a_taken_port_is_one_line() -> None:
    environ = os.environ | NO_DATABASE
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "services.cli", "serve", "--port", str(port)]
        served = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert served.returncode == 1
    message = " ".join(served.stderr.replace("│", " ").split())  # printed in a box, over several lines
    assert f"Cannot listen on 127.0.0.1, port {port}: Address already in use (os error 98)." in message
    assert "Choose another --host or --port." in message
    assert "backtrace" not in message
    assert "Traceback" not in message


@pytest.mark.parametrize("command", ["serve", "work", "up"])
def test_the_error_for_a_wrong_public_url_is_one_line(command: str) -> None:
    environ = os.environ | NO_DATABASE | {"SHIPLOG_PUBLIC_URL": "foo"}
    ended = subprocess.run(
        [sys.executable, "-m", "services.cli", command],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("shiplog: SHIPLOG_PUBLIC_URL is 'foo': ")
    assert ended.stderr.count("\n") == 1


async def test_up_prints_the_public_address_before_the_ready_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(up, "_is_ready", lambda url: True)
    public = parse_public_url("https://verdicts.example/ship")
    await up._announce_ready(["http://127.0.0.1:8000"], None, public)
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["public https://verdicts.example/ship", "ready http://127.0.0.1:8000"]
