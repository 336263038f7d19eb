"""An installed and running Shiplog: the wheel is built, and installed outside this repository."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.instances import free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
UV = str(Path(sys.executable).with_name("uv"))
_DEVELOPER_VARIABLES = re.compile(r"SHIPLOG_|DATABASE_URL|REDIS_URL|PYTHON|VIRTUAL_ENV|COV_|PYTEST_")
_TERMINAL_CODE = re.compile(r"\x1b\[[\d;]*m|\r")


@dataclass(frozen=True)
class Installation:
    """The folder of the `shiplog` command, and uv's folder with its environment."""

    commands: Path
    packages: Path

    @property
    def environment(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not _DEVELOPER_VARIABLES.match(name)
        }
        return {**inherited, "PATH": f"{self.commands}:{os.environ['PATH']}", "COLUMNS": "100"}


@dataclass
class Terminal:
    """`shiplog up` in an empty folder, and what it has printed on its terminal."""

    folder: Path
    address: str
    installation: Installation
    process: subprocess.Popen[bytes]
    printed: str = ""

    def follow(self, terminal: int) -> None:
        """Read until the process closes the terminal."""
        while sent := _read(terminal):
            self.printed += _TERMINAL_CODE.sub("", sent.decode(errors="replace"))


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel, installed as a tool with the locked versions of its dependencies and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    _uv("build", "--wheel", "--no-build-isolation", "--out-dir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    result = Installation(folder / "bin", folder / "tools")
    places = {"UV_TOOL_BIN_DIR": str(result.commands), "UV_TOOL_DIR": str(result.packages)}
    install = (
        "tool",
        "install",
        "--python",
        sys.executable,
        "--constraints",
        ROOT / "requirements.lock",
        wheel,
    )
    try:
        _uv(*install, "--offline", **places)
    except subprocess.CalledProcessError:  # the cache lacks a package: fetch it
        _uv(*install, **places)
    return result


@pytest.fixture(scope="session")
def installed(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """The installed Shiplog, running. SIGTERM must end it cleanly."""
    with _up(installation, tmp_path_factory.mktemp("empty")) as terminal:
        yield terminal


@contextmanager
def _up(installation: Installation, folder: Path) -> Iterator[Terminal]:
    port = free_port()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["shiplog", "up", "--port", str(port)],
        cwd=folder,
        env=installation.environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    terminal = Terminal(folder, f"http://127.0.0.1:{port}", installation, process)
    reader = threading.Thread(target=terminal.follow, args=(ours,), daemon=True)
    reader.start()
    try:
        wait_until(lambda: "\nready " in terminal.printed or process.poll() is not None, seconds=60)
        assert process.poll() is None, terminal.printed
        yield terminal
    finally:
        ended = _stop(process)
        reader.join(5)
        os.close(ours)
    assert ended == 0, terminal.printed


def _stop(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    try:
        return process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux raises it when the other side is closed
        return b""


def _uv(*arguments: str | Path, **environment: str) -> None:
    subprocess.run(
        [UV, *map(str, arguments), "--quiet"],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
    )
