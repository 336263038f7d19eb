"""A Valkey of our own: it only wakes, so it keeps nothing on disk."""

import os
import signal
import socket
from pathlib import Path
from typing import Self

from services.embedded.binaries import VALKEY, Account, account, runnable
from services.embedded.daemon import Daemon, Server, attached, claimed, launch

KEEPS_NOTHING = ("--save", "", "--appendonly", "no")
STEPS = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


class Valkey:
    """A running Valkey, reached on 127.0.0.1 without a password."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    @classmethod
    def start(cls, data: Path, *, port: int | None = None) -> Self:
        """Raises AlreadyRunning, PortTaken or another ServerError."""
        data = data.absolute()
        data.mkdir(parents=True, exist_ok=True)
        who = account()
        programs = runnable(VALKEY, who)
        with claimed(_lock(data)) as lock:
            return cls(launch(_server(data, programs, who), port, lock))

    @classmethod
    def attach(cls, data: Path) -> Self | None:
        """The server that is running on `data`, whoever started it."""
        daemon = attached("Valkey", _lock(data.absolute()), _answers)
        return cls(daemon) if daemon else None

    @property
    def port(self) -> int:
        return self._daemon.port

    @property
    def pid(self) -> int:
        return self._daemon.pid

    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def running(self) -> bool:
        return self._daemon.running()

    def stop(self) -> None:
        self._daemon.stop(*STEPS)


def _lock(data: Path) -> Path:
    return data / "valkey.lock"


def _server(data: Path, programs: Path, who: Account) -> Server:
    """Its working directory is its `dir`, so it need not be able to reach the path."""
    folder = data / "valkey"
    folder.mkdir(mode=0o700, exist_ok=True)
    if who.uid is not None:
        os.chown(folder, who.uid, who.gid or 0)
    return Server(
        name="Valkey",
        account=who,
        folder=folder,
        lock=_lock(data),
        log=data / "valkey.log",
        command=lambda port: [f"{programs}/valkey-server", *_options(port)],
        ready=_answers,
    )


def _options(port: int) -> list[str]:
    return ["--bind", "127.0.0.1", "--port", str(port), "--daemonize", "no", *KEEPS_NOTHING]


def _answers(pid: int, port: int) -> bool:
    """It is this process that answers, not another server that took the port first."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"INFO server\r\n")
            return f"\r\nprocess_id:{pid}\r\n".encode() in connection.recv(65536)
    except OSError:
        return False
