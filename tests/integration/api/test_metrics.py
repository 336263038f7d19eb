"""Metrics: who may read them, what labels they have, and that every process of a port gives the same ones."""

from __future__ import annotations

import httpx
import pytest

from services.api.http import permissions
from tests.support.instances import Instance, wait_until
from tests.support.stage import Stage

DIRECT = {"Host": "127.0.0.1:8000"}


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "[::1]:8000", "[::1]"])
async def test_a_program_on_this_machine_reads_them(stage: Stage, host: str) -> None:
    answer = await stage.client.get("/metrics", headers={"Host": host})
    assert answer.status_code == 200
    assert 'shiplog_events_behind{read_model="tally"}' in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "ships.example"},
        {**DIRECT, "X-Forwarded-For": "127.0.0.1"},
        {**DIRECT, "Forwarded": "for=127.0.0.1"},
        {**DIRECT, "X-Real-IP": "127.0.0.1"},
        {**DIRECT, "Via": "1.1 proxy"},
    ],
)
async def test_through_a_proxy_they_need_a_key_or_an_editor(stage: Stage, headers: dict[str, str]) -> None:
    assert (await stage.client.get("/metrics", headers=headers)).status_code == 401
    assert (await stage.client.get("/metrics", headers=headers | dict(stage.vote_key))).status_code == 403
    assert (await stage.client.get("/metrics", headers=headers | dict(stage.read_key))).status_code == 200


async def test_what_clients_make_up_adds_no_label(stage: Stage) -> None:
    async def ask(name: str) -> None:
        for path in (
            "",
            "/static",
            "/static/D",
            "/tools",
            "/compare",
            "/v1",
            "/v1/tools",
            "/reviewers",
            "/schema",
            "/embed",
        ):
            await stage.client.get(f"{path}/{name}-vs-{name}")
        await stage.client.request(name.upper(), "/v1/tools")
        await stage.client.request(name.upper(), "/healthz")

    await ask("first")
    before = await names_of(stage)
    for number in range(20):
        await ask(f"made{number}up")
    assert await names_of(stage) == before


async def names_of(stage: Stage) -> set[str]:
    text = (await stage.client.get("/metrics", headers=DIRECT)).text
    assert "made" not in text
    return {line.rpartition(" ")[0] for line in text.splitlines()}


async def test_scrapes_declare_no_further_guards(stage: Stage) -> None:
    """A guard made for each request would stay in the table of guards as long as the process."""
    await stage.client.get("/metrics", headers=dict(stage.read_key))
    before = len(permissions._access)
    for _ in range(3):
        assert (await stage.client.get("/metrics", headers=dict(stage.read_key))).status_code == 200
    assert len(permissions._access) == before


async def test_each_metric_is_described_once(stage: Stage) -> None:
    text = (await stage.client.get("/metrics", headers=DIRECT)).text
    described = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(described) == len(set(described))


@pytest.mark.xdist_group("instance")
def test_the_jobs_of_workers_are_counted(instance: Instance) -> None:
    wait_until(lambda: 'shiplog_jobs_total{job="sweep",outcome="done"}' in scrape(instance))
    text = scrape(instance)
    assert 'shiplog_job_seconds_count{job="find_flips"}' in text
    assert text.count("# TYPE shiplog_jobs_total") == 1


def scrape(instance: Instance) -> str:
    return httpx.get(f"{instance.url}/metrics").text
