"""The supervisor with real processes: it restarts them with a backoff, stops them in order, and leaves none behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from services.embedded.supervisor import (
    Child,
    ChildEvent,
    ChildExited,
    ChildKilled,
    ChildStarted,
    ChildStopped,
    RestartScheduled,
    StartFailed,
    StopRequested,
    backoff,
)
from tests.support.instances import wait_until

ROOT = Path(__file__).parents[3]
SUPERVISE = """
import asyncio, sys
import msgspec
from services.embedded.supervisor import Child, supervise

children = msgspec.json.decode(sys.argv[1], type=list[Child])
report = lambda event: print(msgspec.json.encode(event).decode(), flush=True)
asyncio.run(supervise(children, on_event=report, grace=float(sys.argv[2])))
"""
SLEEP = "import time; time.sleep(600)"
STUCK = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({!r}, 'w').close(); " + SLEEP
PARENT = (
    "import subprocess, sys; open({!r}, 'w').write(str(subprocess.Popen([sys.executable, '-c', {!r}]).pid)); "
)


class Supervised:
    """A supervisor in its own process, and the events it has printed."""

    def __init__(self, output: Path, children: list[Child], grace: float = 10) -> None:
        self._output = output
        command = [sys.executable, "-c", SUPERVISE, msgspec.json.encode(children).decode(), str(grace)]
        with output.open("wb") as out:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=out)

    def events(self) -> list[ChildEvent]:
        lines = self._output.read_bytes().splitlines()
        return [msgspec.json.decode(line, type=ChildEvent) for line in lines if line.endswith(b"}")]

    def pids(self, name: str) -> list[int]:
        return [
            event.pid for event in self.events() if isinstance(event, ChildStarted) and event.name == name
        ]

    def wait_for_start(self, *names: str) -> None:
        wait_until(lambda: all(self.pids(name) for name in names))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    running: list[Supervised] = []

    def start(*children: Child, grace: float = 10) -> Supervised:
        running.append(Supervised(tmp_path / f"events-{len(running)}", list(children), grace))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.stop()


def python(name: str, code: str, **env: str) -> Child:
    return Child(name, [sys.executable, "-c", code], env)


def is_alive(pid: int) -> bool:
    """False for a zombie, which only waits to be reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def number_in(path: Path) -> int:
    wait_until(lambda: path.exists() and path.read_text() != "")
    return int(path.read_text())


def test_a_killed_child_is_restarted(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise(python("web", SLEEP))
    supervised.wait_for_start("web")
    first = supervised.pids("web")[0]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(supervised.pids("web")) == 2)
    assert ChildExited("web", first, -signal.SIGKILL) in supervised.events()
    assert is_alive(supervised.pids("web")[1])


def test_children_of_a_killed_child_are_ended_before_it_restarts(
    supervise: Callable[..., Supervised], tmp_path: Path
) -> None:
    note = tmp_path / "worker"
    supervised = supervise(python("web", PARENT.format(str(note), SLEEP) + SLEEP))
    supervised.wait_for_start("web")
    worker = number_in(note)
    os.kill(supervised.pids("web")[0], signal.SIGKILL)
    wait_until(lambda: len(supervised.pids("web")) == 2)
    assert not is_alive(worker)


def test_the_backoff_between_starts_grows(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise(python("web", "raise SystemExit(3)"))
    wait_until(lambda: len(supervised.pids("web")) == 4)
    pauses = [event.in_seconds for event in supervised.events() if isinstance(event, RestartScheduled)]
    assert pauses[:3] == [0.1, 0.2, 0.4]
    assert {event.code for event in supervised.events() if isinstance(event, ChildExited)} == {3}
    assert supervised.stop() == 0


def test_the_backoff_has_a_maximum_and_a_long_run_resets_it() -> None:
    pauses = [0.0]
    for _ in range(8):
        pauses.append(backoff(pauses[-1], uptime=1))
    assert pauses[1:] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert backoff(5.0, uptime=10) == 0.1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_children_in_reverse_order(
    supervise: Callable[..., Supervised], number: signal.Signals
) -> None:
    names = ("api", "worker", "mailer")
    supervised = supervise(*(python(name, SLEEP) for name in names))
    supervised.wait_for_start(*names)
    assert supervised.stop(number) == 0
    ends = [event for event in supervised.events() if isinstance(event, StopRequested | ChildStopped)]
    pids = {name: supervised.pids(name)[0] for name in names}
    assert ends == [
        end
        for name in reversed(names)
        for end in (StopRequested(name, pids[name]), ChildStopped(name, pids[name], -signal.SIGTERM))
    ]
    assert not any(is_alive(pid) for pid in pids.values())


def test_a_stuck_child_is_killed_after_the_grace_period(
    supervise: Callable[..., Supervised], tmp_path: Path
) -> None:
    stuck = tmp_path / "stuck"
    supervised = supervise(python("stuck", STUCK.format(str(stuck))), grace=0.3)
    supervised.wait_for_start("stuck")
    wait_until(stuck.exists)
    pid = supervised.pids("stuck")[0]
    assert supervised.stop() == 0
    assert supervised.events()[-3:] == [
        StopRequested("stuck", pid),
        ChildKilled("stuck", pid),
        ChildStopped("stuck", pid, -signal.SIGKILL),
    ]


def test_a_stop_does_not_wait_for_the_backoff(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise(python("web", "raise SystemExit(3)"))
    wait_until(lambda: any(isinstance(event, RestartScheduled) for event in supervised.events()))
    assert supervised.stop() == 0


def test_a_command_that_does_not_exist_is_reported_and_retried(supervise: Callable[..., Supervised]) -> None:
    supervised = supervise(Child("web", ["/nowhere/web"], {}), python("worker", SLEEP))
    wait_until(lambda: sum(isinstance(event, StartFailed) for event in supervised.events()) >= 2)
    supervised.wait_for_start("worker")
    assert is_alive(supervised.pids("worker")[0])
    assert supervised.stop() == 0


def test_children_and_their_children_end_with_a_killed_supervisor(
    supervise: Callable[..., Supervised], tmp_path: Path
) -> None:
    note, stuck = tmp_path / "worker", tmp_path / "stuck"
    parent = PARENT.format(str(note), STUCK.format(str(stuck))) + SLEEP
    supervised = supervise(python("web", parent), python("worker", SLEEP), grace=0.5)
    supervised.wait_for_start("web", "worker")
    wait_until(stuck.exists)
    pids = [number_in(note), *supervised.pids("web"), *supervised.pids("worker")]
    assert all(map(is_alive, pids))
    assert supervised.stop(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: not any(map(is_alive, pids)))


def test_a_child_gets_the_environment_and_its_own_variables(
    supervise: Callable[..., Supervised], tmp_path: Path
) -> None:
    note = tmp_path / "seen"
    code = (
        f"import os; open({str(note)!r}, 'w').write(os.environ['PATH'] + '|' + os.environ['ROLE']); {SLEEP}"
    )
    supervise(python("web", code, ROLE="api"))
    wait_until(lambda: note.exists() and note.read_text() == f"{os.environ['PATH']}|api")
