"""Kills under load: no acknowledged vote is lost, none counts twice, and the tallies become right without help."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from random import Random

import httpx
import pytest
from redis.asyncio import Redis

from services.embedded.postgres import Postgres
from services.embedded.valkey import Valkey
from tests.oracles import votes as vote_oracle
from tests.support.instances import Instance, wait_until
from tests.support.load import History, LoadClient, eventually, saved_on_failure, send_all
from tests.support.ports import ports_of
from tests.support.workload import Workload

pytestmark = pytest.mark.slow

CASTS_A_FAULT = 2_000
FLUSH_SECONDS = 0.3
LAG_SECONDS_MAX = 20.0

Fault = Callable[["FaultRun"], Awaitable[None]]


@dataclass
class FaultRun:
    """One instance under load, the faults injected so far, and the delays of its tallies in seconds."""

    instance: Instance
    history: History
    kills: int
    rng: Random
    injected: int = 0
    lags: list[float] = field(default_factory=list)

    def pids(self, *words: str) -> list[int]:
        """Children of this instance's supervisor whose command line has these words."""
        children = _children_of(self.instance.process.pid)
        return [pid for pid in children if set(words) <= set(_command_of(pid))]

    def api_pids(self) -> list[int]:
        """Granian's main processes and their servers."""
        main_processes = self.pids("services.cli", "serve")
        return [*main_processes, *(pid for main in main_processes for pid in _children_of(main))]


async def test_kill_9_of_workers(victim: Instance, kills: int, seed: int, tmp_path: Path) -> None:
    fault_run = _new_fault_run(victim, kills, seed)
    await _inject_under_load(fault_run, tmp_path, "kill -9 of a worker", _one_by_one(_kill_a_worker))


async def test_kill_9_of_api_processes(victim: Instance, kills: int, seed: int, tmp_path: Path) -> None:
    fault_run = _new_fault_run(victim, kills, seed)
    await _inject_under_load(
        fault_run, tmp_path, "kill -9 of an API process", _one_by_one(_kill_an_api_process)
    )


async def test_kill_9_of_a_postgres_backend(victim: Instance, kills: int, seed: int, tmp_path: Path) -> None:
    """Postgres then closes every connection and recovers from its WAL."""
    fault_run = _new_fault_run(victim, kills, seed)
    await _inject_under_load(
        fault_run, tmp_path, "kill -9 of a Postgres backend", _one_by_one(_kill_a_backend)
    )


async def test_immediate_stop_of_postgres(victim: Instance, kills: int, seed: int, tmp_path: Path) -> None:
    """`shiplog up` does not restart Postgres, so the test does, on the same port, as an operator would."""
    fault_run = _new_fault_run(victim, kills, seed)
    try:
        await _inject_under_load(
            fault_run, tmp_path, "immediate stop of Postgres", _one_by_one(_restart_postgres)
        )
    finally:
        victim.process.terminate()
        victim.process.wait(30)
        if server := Postgres.attach(victim.data):
            server.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
async def test_thirty_restarts_of_postgres_end_no_process(
    victim: Instance, seed: int, tmp_path: Path, number: signal.Signals
) -> None:
    """Fifteen of each kind, by `shiplog up`. The client fails for any answer but 200 and 503."""
    fault_run = _new_fault_run(victim, 15, seed)
    running = [*fault_run.api_pids(), *fault_run.pids("services.cli", "work")]

    async def restart(run: FaultRun) -> None:
        server = _running(Postgres.attach(run.instance.data))
        os.kill(server.pid, number)
        await eventually(lambda: not server.running(), 60)
        await _wait_until_ready(run)

    await _inject_under_load(fault_run, tmp_path, f"{number.name} to Postgres", _one_by_one(restart))
    assert [*fault_run.api_pids(), *fault_run.pids("services.cli", "work")] == running


async def test_flushed_valkey(victim: Instance, kills: int, seed: int, tmp_path: Path) -> None:
    fault_run = _new_fault_run(victim, kills, seed)
    await _inject_under_load(fault_run, tmp_path, "FLUSHALL every 300 ms", _flush_until_done)


async def test_killed_valkey(victim: Instance, kills: int, seed: int, tmp_path: Path) -> None:
    """Valkey stays down: periodic sweeps keep the tallies moving, and the workers keep running."""
    fault_run = _new_fault_run(victim, kills, seed)
    workers = fault_run.pids("services.cli", "work")
    await _inject_under_load(fault_run, tmp_path, "Valkey gone", _kill_valkey)
    assert fault_run.pids("services.cli", "work") == workers


# The faults.


def _one_by_one(fault: Fault) -> Callable[[FaultRun, LoadClient], Awaitable[None]]:
    """Inject the fault at even intervals of the load, each after recovery from the one before."""

    async def inject(fault_run: FaultRun, client: LoadClient) -> None:
        for n in range(fault_run.kills):
            await client.until_answered(fault_run.history.workload.casts * (n + 1) // (fault_run.kills + 1))
            await fault(fault_run)
            fault_run.injected += 1

    return inject


async def _kill_a_worker(fault_run: FaultRun) -> None:
    killed = fault_run.rng.choice(fault_run.pids("services.cli", "work"))
    os.kill(killed, signal.SIGKILL)
    await eventually(lambda: _replaced(killed, fault_run.pids("services.cli", "work"), 2))


async def _kill_an_api_process(fault_run: FaultRun) -> None:
    """Granian's main process or its server, alternately; the supervisor restarts both."""
    main_processes = fault_run.pids("services.cli", "serve")
    killed = fault_run.rng.choice(main_processes)
    if fault_run.injected % 2:
        killed = (_children_of(killed) or [killed])[0]
    os.kill(killed, signal.SIGKILL)
    await eventually(lambda: _replaced(killed, fault_run.api_pids(), 4))


async def _kill_a_backend(fault_run: FaultRun) -> None:
    server = _running(Postgres.attach(fault_run.instance.data))
    backends = [pid for pid in _children_of(server.pid) if "shiplog_owner" in _command_of(pid)]
    os.kill(fault_run.rng.choice(backends), signal.SIGKILL)
    await _wait_until_ready(fault_run)


async def _restart_postgres(fault_run: FaultRun) -> None:
    server = _running(Postgres.attach(fault_run.instance.data))
    os.kill(server.pid, signal.SIGQUIT)
    await eventually(lambda: not server.running())
    Postgres.start(fault_run.instance.data, port=server.port)
    await _wait_until_ready(fault_run)


async def _flush_until_done(fault_run: FaultRun, client: LoadClient) -> None:
    server = Valkey.attach(fault_run.instance.data)
    assert server is not None
    async with Redis.from_url(server.url()) as redis:
        while not client.finished:
            await redis.flushall()
            fault_run.injected += 1
            await asyncio.sleep(FLUSH_SECONDS)


async def _kill_valkey(fault_run: FaultRun, client: LoadClient) -> None:
    server = Valkey.attach(fault_run.instance.data)
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)
    fault_run.injected += 1
    await eventually(lambda: client.finished, 600)
    assert not server.running()


def _replaced(killed: int, pids: list[int], count: int) -> bool:
    return killed not in pids and len(pids) == count


async def _wait_until_ready(fault_run: FaultRun) -> None:
    await _poll(fault_run.instance, "/readyz")


def _running(server: Postgres | None) -> Postgres:
    assert server is not None
    return server


def _children_of(parent: int) -> list[int]:
    """Child processes, read from /proc."""
    children = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, above = stat.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(above) == parent and state != "Z":
            children.append(int(stat.parent.name))
    return sorted(children)


def _command_of(pid: int) -> list[str]:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return command.replace(b"\0", b" ").decode().split()


# What must hold.


def _new_fault_run(instance: Instance, kills: int, seed: int) -> FaultRun:
    tools = wait_until(lambda: _listed(instance), 30)
    casts = CASTS_A_FAULT * kills
    # A first visit, or a cast without an id, cannot be retried safely, so the load has none.
    workload = Workload(seed, casts, casts // 4, tools, visitors=0, minted=0, ahead=0)
    return FaultRun(instance, History(workload), kills, Random(seed))


def _listed(instance: Instance) -> tuple[str, ...]:
    """The slugs of all tools, or nothing until the read models have caught up."""
    with httpx.Client(base_url=instance.url, timeout=10) as client:
        if any(client.get("/readyz").json()["events_behind"].values()):
            return ()
        return tuple(sorted(card["slug"] for card in client.get("/v1/tools?limit=100").json()["items"]))


async def _inject_under_load(
    fault_run: FaultRun, folder: Path, name: str, inject: Callable[[FaultRun, LoadClient], Awaitable[None]]
) -> None:
    instance, history = fault_run.instance, fault_run.history
    key = instance.create_key("votes:write")
    with saved_on_failure(history, folder):
        await send_all(
            history,
            ports_of(instance.url),
            key,
            lambda client: inject(fault_run, client),
            lambda client: _watch_lag(fault_run, client),
        )
        began = time.monotonic()
        await _wait_until_caught_up(instance)
        caught_up = time.monotonic() - began
        calls = history.for_oracle()
        findings = vote_oracle.examine(calls, await vote_oracle.read_log(instance.data))
        print(f"\n{_line(name, fault_run, findings)}, read models caught up after {caught_up:.1f} s")
        assert not findings.all, findings.all[:20]
        _check_tallies(instance, calls)
        assert json.loads(instance.command("verify", "--json"))["equal"]
        assert max(fault_run.lags) < LAG_SECONDS_MAX


def _line(name: str, fault_run: FaultRun, findings: vote_oracle.Findings) -> str:
    return (
        f"{name}: {fault_run.injected} times, acknowledged {findings.acknowledged}, resent {findings.resent} "
        f"({findings.unanswered} of them without an answer), "
        f"lost {len(findings.lost)}, duplicated {len(findings.duplicated)}, wrong {len(findings.wrong)}, "
        f"{fault_run.history.seconds:.1f} s of load, longest delay from a vote to its tally "
        f"{max(fault_run.lags):.2f} s of {len(fault_run.lags)}"
    )


async def _watch_lag(fault_run: FaultRun, client: LoadClient) -> None:
    """Measure repeatedly the time from the last acknowledged vote to a tally that includes it."""
    params = {"tools": fault_run.history.workload.tools[0]}
    await client.until_answered(1)
    while not client.finished or not fault_run.lags:
        last = next(call for call in reversed(fault_run.history.calls) if call.status == 200)
        began, position = time.monotonic(), json.loads(last.body)["position"]
        await _poll(fault_run.instance, "/v1/tallies", params | {"min_position": position})
        fault_run.lags.append(time.monotonic() - began)


async def _poll(instance: Instance, path: str, params: dict[str, str] | None = None) -> httpx.Response:
    """Ask both API processes in turn until one answers 200."""
    deadline = time.monotonic() + 60
    async with httpx.AsyncClient(timeout=10) as client:
        for port in cycle(ports_of(instance.url)):
            assert time.monotonic() < deadline, f"{path} did not answer 200 within a minute"
            try:
                answer = await client.get(f"http://127.0.0.1:{port}{path}", params=params)
            except httpx.TransportError:
                await asyncio.sleep(0.02)
                continue
            if answer.status_code == 200:
                return answer
            assert answer.status_code == 503, answer.text
            await asyncio.sleep(0.02)
    raise AssertionError("unreachable")


async def _wait_until_caught_up(instance: Instance) -> None:
    deadline = time.monotonic() + 60
    while any((await _poll(instance, "/readyz")).json()["events_behind"].values()):
        assert time.monotonic() < deadline, "read models do not catch up"


def _check_tallies(instance: Instance, calls: list[vote_oracle.Call]) -> None:
    """Compare the tallies of both API processes with the oracle's."""
    tools = sorted({call.cast.tool for call in calls})
    expected = vote_oracle.tallies(vote_oracle.final_states(calls), tools)
    for port in ports_of(instance.url):
        items = httpx.get(f"http://127.0.0.1:{port}/v1/tallies", params={"tools": ",".join(tools)}).json()
        for shown in items["items"]:
            assert shown | vote_oracle.tally(*expected[shown["tool"]]) == shown
