"""Keeps child processes running until SIGTERM or SIGINT, and leaves none behind, even after kill -9."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

from msgspec import Struct

from services.stop_signals import heeded_stop_signals

BACKOFF_MIN_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 5.0
BACKOFF_RESET_SECONDS = 10.0  # after a run of this length the backoff starts again
GRACE_SECONDS = 10.0


class Child(Struct, frozen=True):
    """A process to keep running. `env` is added to the current environment; it inherits the descriptors `pass_fds`."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    pass_fds: tuple[int, ...] = ()


class ChildStarted(Struct, frozen=True, tag=True):
    name: str
    pid: int


class StartFailed(Struct, frozen=True, tag=True):
    name: str
    reason: str


class ChildExited(Struct, frozen=True, tag=True):
    """It ended by itself. A negative `code` is the signal that ended it."""

    name: str
    pid: int
    code: int


class RestartScheduled(Struct, frozen=True, tag=True):
    name: str
    in_seconds: float


class StopRequested(Struct, frozen=True, tag=True):
    name: str
    pid: int


class ChildKilled(Struct, frozen=True, tag=True):
    """It did not stop within the grace period."""

    name: str
    pid: int


class ChildStopped(Struct, frozen=True, tag=True):
    name: str
    pid: int
    code: int


ChildEvent = (
    ChildStarted | StartFailed | ChildExited | RestartScheduled | StopRequested | ChildKilled | ChildStopped
)


async def supervise(
    children: Sequence[Child],
    *,
    on_event: Callable[[ChildEvent], None],
    grace: float = GRACE_SECONDS,
    lock: int | None = None,
) -> None:
    """Start the children in order. Returns once all have stopped, in reverse order.

    After kill -9, the descriptor `lock` stays open until the children have ended.
    """
    ending = asyncio.Event()
    with _set_by_signals(ending):
        async with _guard(grace, () if lock is None else (lock,)) as guard:
            runners = [_ChildRunner(child, guard, on_event, grace) for child in children]
            try:
                await _first_of(ending.wait(), *(runner.wait() for runner in runners))
            finally:
                for runner in reversed(runners):
                    await runner.stop()
            for runner in runners:
                runner.running.result()


def backoff(pause: float, uptime: float) -> float:
    """Seconds before the next start, after a backoff of `pause` seconds and a run of `uptime` seconds."""
    return (
        BACKOFF_MIN_SECONDS
        if uptime >= BACKOFF_RESET_SECONDS
        else min(max(BACKOFF_MIN_SECONDS, pause * 2), BACKOFF_MAX_SECONDS)
    )


class _ChildRunner:
    def __init__(
        self, child: Child, guard: asyncio.StreamWriter, on_event: Callable[[ChildEvent], None], grace: float
    ) -> None:
        self.child = child
        self.guard = guard
        self.on_event = on_event
        self.grace = grace
        self.ending = asyncio.Event()
        self.running = asyncio.create_task(self._keep())

    async def wait(self) -> None:
        await asyncio.wait([self.running])

    async def stop(self) -> None:
        self.ending.set()
        await self.wait()

    async def _keep(self) -> None:
        pause = 0.0
        while not self.ending.is_set():
            started = time.monotonic()
            await self._run_once()
            if not self.ending.is_set():
                pause = backoff(pause, time.monotonic() - started)
                self.on_event(RestartScheduled(self.child.name, pause))
                await _first_of(asyncio.sleep(pause), self.ending.wait())

    async def _run_once(self) -> None:
        try:
            process = await _start(self.child)
        except OSError as error:
            self.on_event(StartFailed(self.child.name, str(error)))
            return
        self.guard.write(f"+{process.pid}\n".encode())
        try:
            self.on_event(ChildStarted(self.child.name, process.pid))
            await _first_of(process.wait(), self.ending.wait())
            if process.returncode is None:
                await self._terminate(process)
        finally:
            _kill_group(process.pid)
            code = await process.wait()
            self.guard.write(f"-{process.pid}\n".encode())
        end = ChildStopped if self.ending.is_set() else ChildExited
        self.on_event(end(self.child.name, process.pid, code))

    async def _terminate(self, process: Process) -> None:
        self.on_event(StopRequested(self.child.name, process.pid))
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self.grace):
                await process.wait()
        except TimeoutError:
            self.on_event(ChildKilled(self.child.name, process.pid))


async def _start(child: Child) -> Process:
    """In its own session and process group, so that Ctrl-C in the terminal does not reach it."""
    return await asyncio.create_subprocess_exec(
        *child.command,
        env={**os.environ, **child.env},
        stdin=DEVNULL,
        start_new_session=True,
        pass_fds=child.pass_fds,
    )


def _kill_group(leader: int) -> None:
    """Kill a stuck child, or the children of a dead one: the workers of a killed web server would keep its port."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


async def _first_of(*awaitables: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


@contextmanager
def _set_by_signals(ending: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in heeded_stop_signals()}
    for number in before:
        loop.add_signal_handler(number, ending.set)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


# The guard process. Its standard input is closed when the supervisor ends, even by kill -9; then it ends the remaining
# process groups.
# PR_SET_PDEATHSIG would reach only the children, not the workers of a web server.
_GUARD = """
import os, signal, sys, time

groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))

def send(number):
    for group in list(groups):
        try:
            os.killpg(group, number)
        except OSError:
            groups.discard(group)

send(signal.SIGTERM)
deadline = time.monotonic() + float(sys.argv[1])
while groups and time.monotonic() < deadline:
    time.sleep(0.05)
    send(0)
send(signal.SIGKILL)
"""


@asynccontextmanager
async def _guard(grace: float, descriptors: tuple[int, ...]) -> AsyncIterator[asyncio.StreamWriter]:
    command = (sys.executable, "-I", "-S", "-c", _GUARD, str(grace))
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, start_new_session=True, pass_fds=descriptors
    )
    assert process.stdin is not None
    try:
        yield process.stdin
    finally:
        process.stdin.close()
        await process.wait()
