"""A server process: claim its lock, launch it, wait until it is ready, attach to it, stop it."""

import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from services.embedded.binaries import ENVIRONMENT, Account, ServerError

CLAIM_TIMEOUT_SECONDS = 60.0
READY_TIMEOUT_SECONDS = 300.0
POLL_SECONDS = 0.005
REAP_TIMEOUT_SECONDS = 1.0


class AlreadyRunning(ServerError):
    """This data directory has a running server: attach to it, or stop it first."""


class PortTaken(ServerError):
    """Another program listens on the port: choose another one, or none to get a free one."""


class LockHolder(Struct, frozen=True):
    """The process that holds a lock. It may still be starting."""

    pid: int
    port: int


class Server(Struct, frozen=True):
    """How to run a server. `ready` takes a pid and a port: whether this process, not another on the port, is ready."""

    name: str
    account: Account
    folder: Path
    lock: Path
    log: Path
    command: Callable[[int], Sequence[str]]
    ready: Callable[[int, int], bool]
    stdin: Path = Path(os.devnull)


@contextmanager
def claim_lock(lock: Path) -> Iterator[int]:
    """Hold `lock`, which is the right to start its server. Raises AlreadyRunning.

    The server and its children inherit the open descriptor, so the lock is held exactly as long as any of them lives,
    even after kill -9, and even if another process gets the same pid.
    """
    deadline = time.monotonic() + CLAIM_TIMEOUT_SECONDS
    while (descriptor := _locked(lock)) is None:
        if (running := holder(lock)) is not None:
            raise AlreadyRunning(
                f"{lock.stem} is running as process {running.pid} on port {running.port}: stop it first."
            )
        if time.monotonic() > deadline:
            raise ServerError(
                f"{lock} is still held: wait for the other start, or end the remaining processes of the old server."
            )
        time.sleep(POLL_SECONDS)
    try:
        os.ftruncate(descriptor, 0)
        yield descriptor
    finally:
        os.close(descriptor)


def holder(lock: Path) -> LockHolder | None:
    if not lock.exists():
        return None
    if (descriptor := _locked(lock)) is not None:
        os.close(descriptor)
        return None
    match lock.read_text().split():
        case [pid, port] if _alive(int(pid)):
            return LockHolder(int(pid), int(port))
        case _:
            return None


def _locked(lock: Path) -> int | None:
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Daemon:
    """A server that outlives this process unless stopped. `process` is None if another process started it."""

    def __init__(
        self, name: str, lock: Path, running: LockHolder, process: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.name = name
        self.lock = lock
        self.pid = running.pid
        self.port = running.port
        self._process = process

    def running(self) -> bool:
        # A child that is not reaped keeps its pid and would look alive, also to a new server.
        if self._process is not None:
            self._process.poll()
        current = holder(self.lock)
        running = current is not None and current.pid == self.pid
        if not running and self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(REAP_TIMEOUT_SECONDS)
        return running

    def stop(self, *steps: tuple[signal.Signals, float]) -> None:
        """Send each signal in turn until the server has ended, waiting the given seconds after each."""
        for signal_number, seconds in steps:
            if self.running():
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal_number)
                _wait_until(lambda: not self.running(), seconds)
        if self.running():
            raise ServerError(
                f"{self.name} (process {self.pid}) does not stop. Look at its log, then end it by hand."
            )


def attach_to(name: str, lock: Path, ready: Callable[[int, int], bool]) -> Daemon | None:
    """The server that holds `lock`, once it is ready. None if there is none, or if it ends before."""
    running = holder(lock)
    if running is None:
        return None
    _wait_until(lambda: ready(running.pid, running.port) or holder(lock) != running, READY_TIMEOUT_SECONDS)
    return Daemon(name, lock, running) if holder(lock) == running else None


def launch(server: Server, port: int | None, lock: int) -> Daemon:
    """Start the server and wait until it is ready. Without ``port``: on a free port, or another one if that is taken meanwhile."""
    for _ in range(4 if port is None else 0):
        with suppress(PortTaken):
            return _launch_on(server, _free_port(), lock)
    return _launch_on(server, port or _free_port(), lock)


def _launch_on(server: Server, port: int, lock: int) -> Daemon:
    process, log_size = _spawn(server, port, lock)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{process.pid} {port}\n".encode(), 0)
    try:
        if not _wait_until(
            lambda: process.poll() is not None or server.ready(process.pid, port), READY_TIMEOUT_SECONDS
        ):
            raise _failure(server, port, log_size, f"not ready after {READY_TIMEOUT_SECONDS:.0f} s")
        if process.poll() is not None:
            raise _failure(server, port, log_size, f"ended with exit code {process.returncode}")
    except BaseException:
        _terminate(process)
        raise
    return Daemon(server.name, server.lock, LockHolder(process.pid, port), process)


def _spawn(server: Server, port: int, lock: int) -> tuple[subprocess.Popen[bytes], int]:
    """The process, and the size of the log before its start. It has its own session, so that Ctrl-C does not reach it."""
    log = os.open(server.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    stdin = os.open(server.stdin, os.O_RDONLY)
    try:
        log_size = os.fstat(log).st_size
        process = subprocess.Popen(
            server.command(port),
            cwd=server.folder,
            env=ENVIRONMENT,
            stdin=stdin,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
            umask=0o077,
            user=server.account.uid,
            group=server.account.gid,
            extra_groups=server.account.groups,
        )
    finally:
        os.close(log)
        os.close(stdin)
    return process, log_size


def _failure(server: Server, port: int, log_size: int, reason: str) -> ServerError:
    lines = server.log.read_bytes()[log_size:].decode(errors="replace").splitlines()
    log_end = "\n  ".join(lines[-15:])
    if "Address already in use" in log_end:
        return PortTaken(
            f"{server.name}: port {port} is taken. Choose another one, or none to get a free one."
        )
    return ServerError(f"{server.name} did not start: {reason}. The end of {server.log}:\n  {log_end}")


def _terminate(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (done := condition()) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return done
