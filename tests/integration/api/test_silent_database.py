"""A Postgres that stops answering without closing: every request is answered 503, and the pool is whole afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest

from eventstore import deadlines
from services.embedded.postgres import Postgres
from tests.integration.conftest import stage_on
from tests.support.instances import fresh_database
from tests.support.stage import Stage, list_tool, vote, vote_as
from tests.support.tcp_proxy import Network, TcpProxy, proxy_to

VOTES = 100  # many more than the pool has connections
SENDERS = 8
USE_SECONDS = 0.5
SILENT = [Network.BLACK_HOLE, Network.STUCK, Network.SLOW, Network.DRIP]


@pytest.fixture
async def proxied(
    postgres: Postgres, template: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Stage, TcpProxy]]:
    """An app that reaches its database through a proxy, with short deadlines."""
    async with fresh_database(postgres, template, "silent") as settings:
        port = urlsplit(settings.database_url).port
        assert port is not None
        with proxy_to(port) as proxy:
            async with stage_on(settings) as direct:
                await list_tool(direct.client, direct.catalogue_key)
            monkeypatch.setattr(deadlines, "USE_SECONDS_MAX", USE_SECONDS)
            through = type(settings)(
                **{name: getattr(settings, name) for name in settings.__struct_fields__}
                | {"database_url": proxy.url(settings.database_url)}
            )
            async with stage_on(through) as stage:
                yield stage, proxy


@pytest.mark.parametrize("network", SILENT, ids=lambda network: network.name)
async def test_every_request_is_answered_and_the_pool_recovers(
    proxied: tuple[Stage, TcpProxy], network: Network
) -> None:
    stage, proxy = proxied
    client, key = stage.client, stage.vote_key
    assert (await vote_as(client, key, "before", "ship")).status_code == 200
    proxy.network = network
    answers = await asyncio.gather(
        *(vote_as(client, key, f"voter-{n}", "ship") for n in range(VOTES)),
        *(vote(client) for _ in range(20)),
        *(client.get(path) for path in ("/readyz", "/", "/v1/tools/quill", "/v1/tallies?tools=quill") * 10),
        client.post("/v1/session", json={"name": "nobody", "password": "wrong" * 5}),
        bulk(stage),
        client.put("/v1/me/bookmarks/quill", json={}),
        client.delete("/v1/votes/quill?voter=before", headers=dict(key)),
    )
    assert {each.status_code for each in answers} == {503}
    assert all("retry-after" in each.headers for each in answers)
    assert (await client.get("/healthz")).status_code == 200
    proxy.network = Network.GOOD
    async with asyncio.timeout(30):
        senders = asyncio.Semaphore(SENDERS)
        settled = await asyncio.gather(*(resend(stage, senders, f"voter-{n}") for n in range(VOTES)))
    assert len({each["position"] for each in settled}) == VOTES
    counted = await stage.log.fetchval("SELECT count(DISTINCT actor) FROM events WHERE shard > 0")
    assert await stage.log.fetchval("SELECT count(*) FROM standings") == counted >= VOTES


async def bulk(stage: Stage) -> httpx.Response:
    headers = {**stage.vote_key, "Content-Type": "application/x-ndjson"}
    line = b'{"tool": "quill", "choice": "ship", "voter": "in bulk"}\n'
    return await stage.client.post("/v1/votes/bulk", content=line, headers=headers)


async def resend(stage: Stage, senders: asyncio.Semaphore, voter: str) -> dict[str, str]:
    """As clients do that were answered 503."""
    async with senders:
        while (answer := await vote_as(stage.client, stage.vote_key, voter, "ship")).status_code != 200:
            assert answer.status_code == 503
    voted: dict[str, str] = answer.json()
    return voted
