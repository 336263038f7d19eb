"""A Postgres that stops answering without closing, under load: every request is answered in time, and no vote is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.embedded.postgres import Postgres
from tests.oracles import votes as vote_oracle
from tests.support.instances import Instance, copy_cluster, start_instance, wait_until
from tests.support.load import History, LoadClient, saved_on_failure, send_all, summary
from tests.support.ports import free_ports, ports_of
from tests.support.tcp_proxy import Network, TcpProxy, proxy_to
from tests.support.workload import Workload

pytestmark = pytest.mark.slow

CASTS, BEFORE = 8_000, 2_000
ANSWER_SECONDS_MAX = 3.5  # promise 14
BUSY_SECONDS = 1.0  # allowed more, because load, servers and proxy share the machine
SILENT = [network for network in Network if network is not Network.GOOD]
READS = (
    "/",
    "/readyz",
    "/v1/tools/smolagents-2-0",
    "/v1/tallies?tools=smolagents-2-0",
    "/compare/zed-vs-neovim",
)


class Silence:
    """Makes Postgres silent, and lets it answer again."""

    def __init__(self, server: Postgres, proxy: TcpProxy, network: Network | None) -> None:
        self._server, self._proxy, self._network = server, proxy, network

    def begin(self) -> None:
        if self._network is not None:
            self._proxy.network = self._network
        else:
            self._signal(signal.SIGSTOP)

    def end(self) -> None:
        self._proxy.network = Network.GOOD
        if self._network is None:
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        children = Path(f"/proc/{self._server.pid}/task/{self._server.pid}/children").read_text().split()
        for pid in (self._server.pid, *map(int, children)):
            os.kill(pid, number)


@contextmanager
def proxied_instance(data: Path) -> Iterator[tuple[Instance, Postgres, TcpProxy]]:
    """Two API processes and two workers, which reach Postgres through a proxy."""
    copy_cluster(data)
    server = Postgres.start(data)
    try:
        with (
            proxy_to(server.port) as proxy,
            start_instance(
                data,
                *("--api", "2", "--workers", "2"),
                port=free_ports(),
                database_url=proxy.url(server.url()),
            ) as instance,
        ):
            yield instance, server, proxy
    finally:
        server.stop("immediate")


@pytest.mark.parametrize(
    "network", [None, *SILENT], ids=lambda network: network.name if network else "SIGSTOP"
)
async def test_silent_postgres(network: Network | None, kills: int, seed: int, tmp_path: Path) -> None:
    seconds = 30.0 if kills > 3 else 10.0
    with proxied_instance(tmp_path / "data") as (instance, server, proxy):
        tools = wait_until(lambda: _listed(instance), 60)
        workload = Workload(seed, CASTS, CASTS // 4, tools, visitors=0, minted=0, ahead=0)
        history, probes = History(workload), _Probes(instance)
        silence = Silence(server, proxy, network)

        async def inject(client: LoadClient) -> None:
            await client.until_answered(BEFORE)
            silence.begin()
            try:
                async with asyncio.timeout(seconds):
                    await probes.repeat()
            except TimeoutError:
                pass
            finally:
                silence.end()

        with saved_on_failure(history, tmp_path):
            key = instance.create_key("votes:write")
            await send_all(history, ports_of(instance.url), key, inject)
            recovered = await probes.until_good()
            slowest = max(call.ended - call.sent for call in history.calls) / 1e9
            print(
                f"\n{network}: {summary(history)}, slowest {slowest:.2f} s; {probes}; ready after {recovered:.1f} s"
            )
            findings = vote_oracle.examine(history.for_oracle(), await vote_oracle.read_log(instance.data))
            assert not findings.all, findings.all[:20]
            assert {call.status for call in history.calls} <= {200, 503}
            assert max(slowest, probes.slowest) < ANSWER_SECONDS_MAX + BUSY_SECONDS
            assert instance.process.poll() is None


class _Probes:
    """Reads and other writes than plain votes, repeated; their statuses and times."""

    def __init__(self, instance: Instance) -> None:
        self._ports = ports_of(instance.url)
        self._statuses: dict[str, Counter[int]] = defaultdict(Counter)
        self._times: dict[str, float] = defaultdict(float)

    @property
    def slowest(self) -> float:
        return max(self._times.values(), default=0.0)

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {dict(counts)} {self._times[name]:.2f} s" for name, counts in self._statuses.items()
        )

    async def repeat(self) -> None:
        """Until cancelled, twenty of each kind at a time on each server."""
        async with httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=None)) as client:
            await asyncio.gather(
                *(
                    self._repeat_one(client, f"http://127.0.0.1:{port}", send)
                    for port in self._ports
                    for send in (*map(_get, READS * 4), _unknown_key, _log_in)
                )
            )

    async def until_good(self) -> float:
        """Seconds until every server can commit and all read models have caught up."""
        began = time.monotonic()
        async with httpx.AsyncClient(timeout=10) as client:
            for port in self._ports:
                await _until_ready(client, f"http://127.0.0.1:{port}/readyz")
        return time.monotonic() - began

    async def _repeat_one(
        self, client: httpx.AsyncClient, url: str, send: Callable[[httpx.AsyncClient, str], Any]
    ) -> None:
        while True:
            began = time.monotonic()
            answer = await send(client, url)
            name = answer.request.url.path
            self._times[name] = max(self._times[name], time.monotonic() - began)
            self._statuses[name][answer.status_code] += 1
            assert answer.status_code != 503 or "retry-after" in answer.headers
            await asyncio.sleep(0.1)


def _get(path: str) -> Callable[[httpx.AsyncClient, str], Any]:
    return lambda client, url: client.get(url + path)


async def _unknown_key(client: httpx.AsyncClient, url: str) -> httpx.Response:
    """A write whose key has to be looked up, and is rejected: the votes of the load are to be the only ones."""
    body = {"tool": "smolagents-2-0", "choice": "ship", "voter": "nobody"}
    return await client.post(url + "/v1/votes", json=body, headers={"Authorization": "Bearer slk_unknown"})


async def _log_in(client: httpx.AsyncClient, url: str) -> httpx.Response:
    return await client.post(url + "/v1/session", json={"name": "nobody", "password": "not a password"})


async def _until_ready(client: httpx.AsyncClient, url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        answer = await client.get(url)
        if answer.status_code == 200 and not any(answer.json()["events_behind"].values()):
            return
        assert time.monotonic() < deadline, answer.text
        await asyncio.sleep(0.05)


def _listed(instance: Instance) -> tuple[str, ...]:
    answer = httpx.get(f"{instance.url}/v1/tools?limit=100", timeout=10)
    return tuple(sorted(card["slug"] for card in answer.json()["items"])) if answer.status_code == 200 else ()
