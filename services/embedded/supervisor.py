"""Keeps child processes running until SIGTERM or SIGINT, and leaves none behind, however it ends itself."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

from msgspec import Struct

PAUSE_MIN_SECONDS = 0.1
PAUSE_MAX_SECONDS = 5.0
STEADY_AFTER = 10.0
GRACE = 10.0


class Child(Struct, frozen=True):
    """A process to keep running; `env` is added to our own."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]


class Started(Struct, frozen=True, tag=True):
    name: str
    pid: int


class NotStarted(Struct, frozen=True, tag=True):
    name: str
    reason: str


class Exited(Struct, frozen=True, tag=True):
    """Unasked; a negative `code` is the signal that ended it."""

    name: str
    pid: int
    code: int


class Restarting(Struct, frozen=True, tag=True):
    name: str
    in_seconds: float


class Stopping(Struct, frozen=True, tag=True):
    name: str
    pid: int


class Killed(Struct, frozen=True, tag=True):
    """It did not stop within the grace time."""

    name: str
    pid: int


class Stopped(Struct, frozen=True, tag=True):
    name: str
    pid: int
    code: int


Event = Started | NotStarted | Exited | Restarting | Stopping | Killed | Stopped


async def supervise(
    children: Sequence[Child], *, on_event: Callable[[Event], None], grace: float = GRACE
) -> None:
    """Starts the children in order and returns when all have stopped, the last started first."""
    ending = asyncio.Event()
    with _set_by_signals(ending):
        async with _guard(grace) as guard:
            keepers = [_Keeper(child, guard, on_event, grace) for child in children]
            try:
                await _either(ending.wait(), *(keeper.wait() for keeper in keepers))
            finally:
                for keeper in reversed(keepers):
                    await keeper.stop()
            for keeper in keepers:
                keeper.running.result()


def back_off(pause: float, lived: float) -> float:
    """Seconds to wait before the next start, after the last `pause` and a life of `lived` seconds."""
    return (
        PAUSE_MIN_SECONDS
        if lived >= STEADY_AFTER
        else min(max(PAUSE_MIN_SECONDS, pause * 2), PAUSE_MAX_SECONDS)
    )


class _Keeper:
    def __init__(
        self, child: Child, guard: asyncio.StreamWriter, on_event: Callable[[Event], None], grace: float
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
            born = time.monotonic()
            await self._live()
            if not self.ending.is_set():
                pause = back_off(pause, time.monotonic() - born)
                self.on_event(Restarting(self.child.name, pause))
                await _either(asyncio.sleep(pause), self.ending.wait())

    async def _live(self) -> None:
        try:
            process = await _start(self.child)
        except OSError as error:
            self.on_event(NotStarted(self.child.name, str(error)))
            return
        self.guard.write(f"+{process.pid}\n".encode())
        try:
            self.on_event(Started(self.child.name, process.pid))
            await _either(process.wait(), self.ending.wait())
            if process.returncode is None:
                await self._terminate(process)
        finally:
            _kill_group(process.pid)
            code = await process.wait()
            self.guard.write(f"-{process.pid}\n".encode())
        end = Stopped if self.ending.is_set() else Exited
        self.on_event(end(self.child.name, process.pid, code))

    async def _terminate(self, process: Process) -> None:
        self.on_event(Stopping(self.child.name, process.pid))
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(self.grace):
                await process.wait()
        except TimeoutError:
            self.on_event(Killed(self.child.name, process.pid))


async def _start(child: Child) -> Process:
    """At the head of a group of its own, out of reach of the terminal's Ctrl-C."""
    return await asyncio.create_subprocess_exec(
        *child.command, env={**os.environ, **child.env}, stdin=DEVNULL, start_new_session=True
    )


def _kill_group(leader: int) -> None:
    """Ends a stuck child, and what a dead one left: the workers of a killed web server keep its port."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


async def _either(*awaited: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(one) for one in awaited]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


@contextmanager
def _set_by_signals(ending: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


# Its input ends when we do, by kill -9 too; then it ends the groups that are left. PR_SET_PDEATHSIG would
# reach the children alone: the workers of a web server would live on.
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
async def _guard(grace: float) -> AsyncIterator[asyncio.StreamWriter]:
    command = (sys.executable, "-I", "-S", "-c", _GUARD, str(grace))
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, start_new_session=True)
    assert process.stdin is not None
    try:
        yield process.stdin
    finally:
        process.stdin.close()
        await process.wait()
