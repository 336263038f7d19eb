"""An embedded Valkey. It carries wake-ups and rate limits only, so nothing is persisted."""

import os
import secrets
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Self

from services.embedded.binaries import VALKEY, Account, find_folder, server_account
from services.embedded.daemon import Daemon, Server, attach_to, claim_lock, launch

NO_PERSISTENCE = ("--save", "", "--appendonly", "no")
CONFIG = "valkey.conf"  # read from standard input: on the command line every user could see the password
STOP_SIGNALS = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


class Valkey:
    """A running Valkey that listens on 127.0.0.1, with a generated password."""

    def __init__(self, daemon: Daemon, password: str | None) -> None:
        self._daemon, self._password = daemon, password

    @classmethod
    def start(cls, data: Path, *, port: int | None = None) -> Self:
        """Raises AlreadyRunning, PortTaken or another ServerError."""
        data = data.absolute()
        data.mkdir(parents=True, exist_ok=True)
        account = server_account()
        programs = find_folder(VALKEY, account)
        with claim_lock(_lock(data)) as lock:
            server = _server(data, programs, account)
            return cls(launch(server, port, lock), _password(data))

    @classmethod
    def attach(cls, data: Path) -> Self | None:
        """The server that is running on `data`, whichever process started it."""
        data = data.absolute()
        daemon = attach_to("Valkey", _lock(data), _answers(data))
        return cls(daemon, _password(data)) if daemon else None

    @property
    def port(self) -> int:
        return self._daemon.port

    @property
    def pid(self) -> int:
        return self._daemon.pid

    def url(self) -> str:
        login = f":{self._password}@" if self._password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

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
    if not (data / CONFIG).exists():
        _write_config(data / CONFIG)
    return Server(
        name="Valkey",
        account=account,
        folder=folder,
        lock=_lock(data),
        log=data / "valkey.log",
        command=lambda port: [f"{programs}/valkey-server", *_options(port), "-"],
        ready=_answers(data),
        stdin=data / CONFIG,
    )


def _write_config(path: Path) -> None:
    """The password stays the same, so that processes reconnect to a restarted server."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"requirepass {secrets.token_urlsafe(24)}\n")


def _password(data: Path) -> str | None:
    """None for a server that a release without passwords started and that is still running."""
    try:
        return (data / CONFIG).read_text().split()[1]
    except FileNotFoundError:
        return None


def _options(port: int) -> list[str]:
    return ["--bind", "127.0.0.1", "--port", str(port), "--daemonize", "no", *NO_PERSISTENCE]


def _answers(data: Path) -> Callable[[int, int], bool]:
    """Whether this process answers, not another server that took the port first."""

    def answers(pid: int, port: int) -> bool:
        password = _password(data)
        login = f"AUTH {password}\r\n" if password else ""
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(f"{login}INFO server\r\nQUIT\r\n".encode())
                answered = b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError:
            return False
        return f"\r\nprocess_id:{pid}\r\n".encode() in answered

    return answers
