"""An embedded Valkey. It carries wake-ups and rate limits only, so nothing is persisted."""

import os
import signal
import socket
from pathlib import Path
from typing import Self

from services.embedded.binaries import VALKEY, Account, find_folder, server_account
from services.embedded.daemon import Daemon, Server, attach_to, claim_lock, launch

NO_PERSISTENCE = ("--save", "", "--appendonly", "no")
STOP_SIGNALS = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


class Valkey:
    """A running Valkey that listens on 127.0.0.1, without a password."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    @classmethod
    def start(cls, data: Path, *, port: int | None = None) -> Self:
        """Raises AlreadyRunning, PortTaken or another ServerError."""
        data = data.absolute()
        data.mkdir(parents=True, exist_ok=True)
        account = server_account()
        programs = find_folder(VALKEY, account)
        with claim_lock(_lock(data)) as lock:
            return cls(launch(_server(data, programs, account), port, lock))

    @classmethod
    def attach(cls, data: Path) -> Self | None:
        """The server that is running on `data`, whichever process started it."""
        daemon = attach_to("Valkey", _lock(data.absolute()), _answers)
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
        self._daemon.stop(*STOP_SIGNALS)


def _lock(data: Path) -> Path:
    return data / "valkey.lock"


def _server(data: Path, programs: Path, account: Account) -> Server:
    """Its working directory is its `dir`, so its user need not be able to reach the path."""
    folder = data / "valkey"
    folder.mkdir(mode=0o700, exist_ok=True)
    if account.uid is not None:
        os.chown(folder, account.uid, account.gid or 0)
    return Server(
        name="Valkey",
        account=account,
        folder=folder,
        lock=_lock(data),
        log=data / "valkey.log",
        command=lambda port: [f"{programs}/valkey-server", *_options(port)],
        ready=_answers,
    )


def _options(port: int) -> list[str]:
    return ["--bind", "127.0.0.1", "--port", str(port), "--daemonize", "no", *NO_PERSISTENCE]


def _answers(pid: int, port: int) -> bool:
    """Whether this process answers, not another server that took the port first."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"INFO server\r\n")
            return f"\r\nprocess_id:{pid}\r\n".encode() in connection.recv(65536)
    except OSError:
        return False
