"""Kills under load: no acknowledged vote is lost, none counts twice, and the tallies come right by themselves."""

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
GENEROUS_LAG_SECONDS = 20.0

Fault = Callable[["Trial"], Awaitable[None]]


@dataclass
class Trial:
    """One instance under load, what is done to it, and how late its tallies were."""

    instance: Instance
    history: History
    kills: int
    rng: Random
    inflicted: int = 0
    lags: list[float] = field(default_factory=list)

    def pids(self, *words: str) -> list[int]:
        """Our instance's own processes of this kind, and no others."""
        children = _children_of(self.instance.process.pid)
        return [pid for pid in children if set(words) <= set(_command_of(pid))]

    def api_pids(self) -> list[int]:
        """Granian's mains and the servers below them."""
        mains = self.pids("services.cli", "serve")
        return [*mains, *(pid for main in mains for pid in _children_of(main))]


async def test_kill_9_of_workers(victim: Instance, kills: int, seed: int, tmp_path: Path) -> None:
    trial = _trial(victim, kills, seed)
    await _try(trial, tmp_path, "kill -9 of a worker", _one_by_one(_kill_a_worker))


async def test_kill_9_of_api_processes(victim: Instance, kills: int, seed: int, tmp_path: Path) -> None:
    trial = _trial(victim, kills, seed)
    await _try(trial, tmp_path, "kill -9 of an API process", _one_by_one(_kill_an_api_process))


async def test_kill_9_of_a_postgres_backend(victim: Instance, kills: int, seed: int, tmp_path: Path) -> None:
    """Postgres then ends every connection, recovers from its WAL and goes on."""
    trial = _trial(victim, kills, seed)
    await _try(trial, tmp_path, "kill -9 of a Postgres backend", _one_by_one(_kill_a_backend))


async def test_immediate_stop_of_postgres(victim: Instance, kills: int, seed: int, tmp_path: Path) -> None:
    """`shiplog up` does not start it again, so this does, as an operator would: on the same port."""
    trial = _trial(victim, kills, seed)
    try:
        await _try(trial, tmp_path, "immediate stop of Postgres", _one_by_one(_restart_postgres))
    finally:
        victim.process.terminate()
        victim.process.wait(30)
        if server := Postgres.attach(victim.data):
            server.stop()


async def test_flushed_valkey(victim: Instance, kills: int, seed: int, tmp_path: Path) -> None:
    trial = _trial(victim, kills, seed)
    await _try(trial, tmp_path, "FLUSHALL every 300 ms", _flush_until_done)


async def test_killed_valkey(victim: Instance, kills: int, seed: int, tmp_path: Path) -> None:
    """It stays away: the sweep alone keeps tallies moving, and the workers live on."""
    trial = _trial(victim, kills, seed)
    workers = trial.pids("services.cli", "work")
    await _try(trial, tmp_path, "Valkey gone", _kill_valkey)
    assert trial.pids("services.cli", "work") == workers


# What is done.


def _one_by_one(fault: Fault) -> Callable[[Trial, LoadClient], Awaitable[None]]:
    """The fault, spread over the load; the next when the one before is got over."""

    async def inflict(trial: Trial, client: LoadClient) -> None:
        for n in range(trial.kills):
            await client.until_answered(trial.history.workload.casts * (n + 1) // (trial.kills + 1))
            await fault(trial)
            trial.inflicted += 1

    return inflict


async def _kill_a_worker(trial: Trial) -> None:
    killed = trial.rng.choice(trial.pids("services.cli", "work"))
    os.kill(killed, signal.SIGKILL)
    await eventually(lambda: _replaced(killed, trial.pids("services.cli", "work"), 2))


async def _kill_an_api_process(trial: Trial) -> None:
    """Granian's main or its server, in turns; the supervisor starts both anew."""
    mains = trial.pids("services.cli", "serve")
    killed = trial.rng.choice(mains)
    if trial.inflicted % 2:
        killed = (_children_of(killed) or [killed])[0]
    os.kill(killed, signal.SIGKILL)
    await eventually(lambda: _replaced(killed, trial.api_pids(), 4))


async def _kill_a_backend(trial: Trial) -> None:
    server = _running(Postgres.attach(trial.instance.data))
    backends = [pid for pid in _children_of(server.pid) if "shiplog_owner" in _command_of(pid)]
    os.kill(trial.rng.choice(backends), signal.SIGKILL)
    await _until_ready(trial)


async def _restart_postgres(trial: Trial) -> None:
    server = _running(Postgres.attach(trial.instance.data))
    os.kill(server.pid, signal.SIGQUIT)
    await eventually(lambda: not server.running())
    Postgres.start(trial.instance.data, port=server.port)
    await _until_ready(trial)


async def _flush_until_done(trial: Trial, client: LoadClient) -> None:
    server = Valkey.attach(trial.instance.data)
    assert server is not None
    async with Redis.from_url(server.url()) as redis:
        while not client.finished:
            await redis.flushall()
            trial.inflicted += 1
            await asyncio.sleep(FLUSH_SECONDS)


async def _kill_valkey(trial: Trial, client: LoadClient) -> None:
    server = Valkey.attach(trial.instance.data)
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)
    trial.inflicted += 1
    await eventually(lambda: client.finished, 600)
    assert not server.running()


def _replaced(killed: int, pids: list[int], count: int) -> bool:
    return killed not in pids and len(pids) == count


async def _until_ready(trial: Trial) -> None:
    await _poll(trial.instance, "/readyz")


def _running(server: Postgres | None) -> Postgres:
    assert server is not None
    return server


def _children_of(parent: int) -> list[int]:
    """From /proc, so that nothing outside the tree can be meant."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, above = stat.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(above) == parent and state != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


def _command_of(pid: int) -> list[str]:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return command.replace(b"\0", b" ").decode().split()


# What must be true of it.


def _trial(instance: Instance, kills: int, seed: int) -> Trial:
    tools = wait_until(lambda: _listed(instance), 30)
    casts = CASTS_A_FAULT * kills
    # A first visit, or a cast without an id, cannot be settled by sending it again: no kills for those.
    workload = Workload(seed, casts, casts // 4, tools, visitors=0, minted=0, ahead=0)
    return Trial(instance, History(workload), kills, Random(seed))


def _listed(instance: Instance) -> tuple[str, ...]:
    """Nothing until the read models are level with the log."""
    with httpx.Client(base_url=instance.url, timeout=10) as client:
        if any(client.get("/readyz").json()["events_behind"].values()):
            return ()
        return tuple(sorted(card["slug"] for card in client.get("/v1/tools?limit=100").json()["items"]))


async def _try(
    trial: Trial, folder: Path, name: str, inflict: Callable[[Trial, LoadClient], Awaitable[None]]
) -> None:
    instance, history = trial.instance, trial.history
    key = instance.create_key("votes:write")
    with saved_on_failure(history, folder):
        await send_all(
            history,
            ports_of(instance.url),
            key,
            lambda client: inflict(trial, client),
            lambda client: _watch_lag(trial, client),
        )
        began = time.monotonic()
        await _until_settled(instance)
        settled = time.monotonic() - began
        calls = history.for_oracle()
        found = vote_oracle.examine(calls, await vote_oracle.read_log(instance.data))
        print(f"\n{_line(name, trial, found)}, read models level after {settled:.1f} s")
        assert not found.all, found.all[:20]
        _check_tallies(instance, calls)
        assert json.loads(instance.command("verify", "--json"))["equal"]
        assert max(trial.lags) < GENEROUS_LAG_SECONDS


def _line(name: str, trial: Trial, found: vote_oracle.Findings) -> str:
    return (
        f"{name}: {trial.inflicted} times, acknowledged {found.acknowledged}, resent {found.resent} "
        f"({found.unanswered} of them for want of an answer), "
        f"lost {len(found.lost)}, duplicated {len(found.duplicated)}, wrong {len(found.wrong)}, "
        f"{trial.history.seconds:.1f} s of load, longest wait for an own vote in a tally "
        f"{max(trial.lags):.2f} s of {len(trial.lags)}"
    )


async def _watch_lag(trial: Trial, client: LoadClient) -> None:
    """Again and again: from the last acknowledged vote to the tally that shows it."""
    params = {"tools": trial.history.workload.tools[0]}
    await client.until_answered(1)
    while not client.finished or not trial.lags:
        last = next(call for call in reversed(trial.history.calls) if call.status == 200)
        began, position = time.monotonic(), json.loads(last.body)["position"]
        await _poll(trial.instance, "/v1/tallies", params | {"min_position": position})
        trial.lags.append(time.monotonic() - began)


async def _poll(instance: Instance, path: str, params: dict[str, str] | None = None) -> httpx.Response:
    """Until either API process answers 200, whatever happens to them."""
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


async def _until_settled(instance: Instance) -> None:
    deadline = time.monotonic() + 60
    while any((await _poll(instance, "/readyz")).json()["events_behind"].values()):
        assert time.monotonic() < deadline, "read models do not catch up"


def _check_tallies(instance: Instance, calls: list[vote_oracle.Call]) -> None:
    """Through both API processes."""
    tools = sorted({call.cast.tool for call in calls})
    expected = vote_oracle.tallies(vote_oracle.final_states(calls), tools)
    for port in ports_of(instance.url):
        items = httpx.get(f"http://127.0.0.1:{port}/v1/tallies", params={"tools": ",".join(tools)}).json()
        for shown in items["items"]:
            assert shown | vote_oracle.tally(*expected[shown["tool"]]) == shown
