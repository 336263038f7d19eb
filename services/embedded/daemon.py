"""A server as a process: claimed by a lock, launched, waited for, found again and stopped."""

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

SECONDS_TO_CLAIM = 60.0
SECONDS_TO_READY = 300.0
SECONDS_BETWEEN_LOOKS = 0.005
SECONDS_TO_REAP = 1.0


class AlreadyRunning(ServerError):
    """This data directory has a running server: attach to it, or stop it first."""


class PortTaken(ServerError):
    """Another program listens on the port: choose another one, or none to get a free one."""


class Holder(Struct, frozen=True):
    """The server that holds a lock; it may still be starting."""

    pid: int
    port: int


class Server(Struct, frozen=True):
    """How to run one server and to see that this process, not another on its port, is ready."""

    name: str
    account: Account
    folder: Path
    lock: Path
    log: Path
    command: Callable[[int], Sequence[str]]
    ready: Callable[[int, int], bool]


@contextmanager
def claimed(lock: Path) -> Iterator[int]:
    """The right to start the server of `lock`.

    The server and all its children inherit the open lock, so it is held for as long as any of them lives and
    no longer: after kill -9 too, and whatever process has its number since.
    """
    deadline = time.monotonic() + SECONDS_TO_CLAIM
    while (descriptor := _locked(lock)) is None:
        if (running := holder(lock)) is not None:
            raise AlreadyRunning(
                f"{lock.stem} runs here as process {running.pid} on port {running.port}: stop it first."
            )
        if time.monotonic() > deadline:
            raise ServerError(
                f"{lock} is still held: wait for the other start, or end what is left of the old server."
            )
        time.sleep(SECONDS_BETWEEN_LOOKS)
    try:
        os.ftruncate(descriptor, 0)
        yield descriptor
    finally:
        os.close(descriptor)


def holder(lock: Path) -> Holder | None:
    if not lock.exists():
        return None
    if (descriptor := _locked(lock)) is not None:
        os.close(descriptor)
        return None
    match lock.read_text().split():
        case [pid, port] if _alive(int(pid)):
            return Holder(int(pid), int(port))
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
    """A server that outlives us unless stopped; `process` is None when another process started it."""

    def __init__(
        self, name: str, lock: Path, running: Holder, process: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.name = name
        self.lock = lock
        self.pid = running.pid
        self.port = running.port
        self._process = process

    def running(self) -> bool:
        # Until it is reaped its number is taken: we, and a new server, would believe it alive.
        if self._process is not None:
            self._process.poll()
        found = holder(self.lock)
        running = found is not None and found.pid == self.pid
        if not running and self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(SECONDS_TO_REAP)
        return running

    def stop(self, *steps: tuple[signal.Signals, float]) -> None:
        """Sends each signal in turn until the server is gone, giving each its seconds."""
        for step, seconds in steps:
            if self.running():
                with suppress(ProcessLookupError):
                    os.kill(self.pid, step)
                _until(lambda: not self.running(), seconds)
        if self.running():
            raise ServerError(
                f"{self.name} (process {self.pid}) does not stop: look at its log, then end it by hand."
            )


def attached(name: str, lock: Path, ready: Callable[[int, int], bool]) -> Daemon | None:
    """The server that holds `lock`, once it is ready; None if there is none or it ends meanwhile."""
    running = holder(lock)
    if running is None:
        return None
    _until(lambda: ready(running.pid, running.port) or holder(lock) != running, SECONDS_TO_READY)
    return Daemon(name, lock, running) if holder(lock) == running else None


def launch(server: Server, port: int | None, lock: int) -> Daemon:
    """Starts the server and waits until it is ready; a free port lost meanwhile is looked for again."""
    for _ in range(4 if port is None else 0):
        with suppress(PortTaken):
            return _launched(server, _free_port(), lock)
    return _launched(server, port or _free_port(), lock)


def _launched(server: Server, port: int, lock: int) -> Daemon:
    process, written = _spawned(server, port, lock)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{process.pid} {port}\n".encode(), 0)
    try:
        if not _until(
            lambda: process.poll() is not None or server.ready(process.pid, port), SECONDS_TO_READY
        ):
            raise _failure(server, port, written, f"not ready after {SECONDS_TO_READY:.0f} s")
        if process.poll() is not None:
            raise _failure(server, port, written, f"ended with exit code {process.returncode}")
    except BaseException:
        _end(process)
        raise
    return Daemon(server.name, server.lock, Holder(process.pid, port), process)


def _spawned(server: Server, port: int, lock: int) -> tuple[subprocess.Popen[bytes], int]:
    """In a session of its own, so that Ctrl-C in our terminal reaches us and not the server."""
    log = os.open(server.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        written = os.fstat(log).st_size
        process = subprocess.Popen(
            server.command(port),
            cwd=server.folder,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
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
    return process, written


def _failure(server: Server, port: int, written: int, what: str) -> ServerError:
    lines = server.log.read_bytes()[written:].decode(errors="replace").splitlines()
    said = "\n  ".join(lines[-15:])
    if "Address already in use" in said:
        return PortTaken(
            f"{server.name}: port {port} is taken. Choose another one, or none to get a free one."
        )
    return ServerError(f"{server.name} did not start: {what}. The end of {server.log}:\n  {said}")


def _end(process: subprocess.Popen[bytes]) -> None:
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


def _until(happened: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (done := happened()) and time.monotonic() < deadline:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return done
