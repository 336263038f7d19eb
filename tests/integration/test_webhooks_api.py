"""Webhooks over HTTP: an editor opens, rotates, tries, reads and repeats; the secret is shown once."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest
from asyncpg import Pool, Record
from litestar import Litestar
from litestar.testing import AsyncTestClient
from msgspec.structs import replace

from services.settings import Settings
from services.webhooks import deliveries
from services.webhooks.sending import open_sender
from tests.integration.stage import Stage, assert_problem, list_tool, log_in, new_visitor
from tests.integration.test_webhooks import LOOPBACK
from tests.receiver import answer, receiving

Client = AsyncTestClient[Litestar]
PUBLIC = "https://hooks.example.com/shiplog"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, webhook_networks=LOOPBACK)


@pytest.fixture
async def editor(client: Client, pool: Pool[Record]) -> Client:
    await log_in(client, pool, "ed", "editor")
    return client


async def make(editor: httpx.AsyncClient, url: str = PUBLIC, **more: object) -> httpx.Response:
    return await editor.post("/v1/webhooks", json={"url": url} | more)


async def test_an_editor_opens_tries_and_repeats(
    editor: Client, pool: Pool[Record], settings: Settings
) -> None:
    async with receiving(answer(500, body="oh no")) as receiver:
        opened = await make(editor, receiver.url, description="Ours")
        assert opened.status_code == 201, opened.text
        address, secret = opened.headers["location"], opened.json()["secret"]
        asked = await editor.post(f"{address}/test")
        assert (asked.status_code, asked.json()["state"]) == (202, "pending")
        await open_sender(settings).deliver(pool)
        (failed,) = (await editor.get(f"{address}/deliveries")).json()["items"]
        assert (failed["state"], failed["status"], failed["response"]) == ("pending", 500, "oh no")
        assert failed["error"] == "the receiver answered 500"
        assert (await editor.get(address)).json()["failing_since"] is not None
        receiver.respond = answer(200)
        again = await editor.post(f"{address}/deliveries/{failed['id']}/redeliver")
        assert (again.status_code, again.json()["id"]) == (202, failed["id"])
        await open_sender(settings).deliver(pool)
    (done,) = (await editor.get(f"{address}/deliveries")).json()["items"]
    assert (done["state"], done["attempts"], done["next_at"]) == ("delivered", 1, None)
    assert {request.headers["webhook-id"] for request in receiver.requests} == {done["webhook_id"]}
    message = receiver.requests[-1].verified(secret)
    assert (message["type"], message["data"]) == ("webhook.ping", {"url": "http://shiplog.test"})
    assert done["payload"].encode() == receiver.requests[-1].body


async def test_the_secret_is_shown_once_and_replaced(editor: Client) -> None:
    opened = (await make(editor)).json()
    address = f"/v1/webhooks/{opened['webhook']['id']}"
    for path in (address, "/v1/webhooks"):
        assert "secret" not in (await editor.get(path)).text.replace("old_secret_until", "")
    rotated = await editor.post(f"{address}/rotate")
    assert rotated.json()["secret"].startswith("whsec_")
    assert rotated.json()["secret"] != opened["secret"]
    assert rotated.json()["webhook"]["old_secret_until"] is not None
    assert rotated.headers["cache-control"] == "no-store"


async def test_tools_are_named_by_slug(editor: Client, catalogue_key: dict[str, str]) -> None:
    await list_tool(editor, catalogue_key)
    opened = await make(editor, tools=["quill"])
    assert opened.json()["webhook"]["tools"] == ["quill"]
    assert (await make(editor)).json()["webhook"]["tools"] is None
    assert len((await editor.get("/v1/webhooks")).json()["items"]) == 2
    assert_problem(await make(editor, tools=["quill", "nothing"]), 404)
    assert_problem(await make(editor, tools=[]), 400)
    assert_problem(await make(editor, tools=["Not a slug"]), 400)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "hooks",
            "ftp://hooks.example.com",
            "http://hooks.example.com/",
            "https://10.0.0.1/",
            "https://[::1]/",
        ),
        *("https://u:p@hooks.example.com/", "https://2852039166/", "https://a.com/\n"),
        *("https://hooks.example.com:22/", f"https://hooks.example.com/{'a' * 500}"),
    ],
)
async def test_what_is_no_endpoint_is_refused(stage: Stage, url: str) -> None:
    """Where no network was set, as it is by default."""
    editor = new_visitor(stage.client)
    await log_in(editor, stage.log, f"ed-{uuid4().hex[:8]}", "editor")
    assert_problem(await make(editor, url), 400)
    assert (await editor.get("/v1/webhooks")).json()["items"] == []


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"url": 7},
        {"url": PUBLIC, "secret": "whsec_mine"},
        {"url": PUBLIC, "description": "a\nb"},
    ],
)
async def test_strict_bodies(editor: Client, body: object) -> None:
    assert_problem(await editor.post("/v1/webhooks", json=body), 400)


async def test_a_disabled_webhook_says_so_until_it_is_enabled(
    editor: Client, pool: Pool[Record], settings: Settings
) -> None:
    async with receiving(answer(410)) as receiver:
        address = (await make(editor, receiver.url)).headers["location"]
        sent = (await editor.post(f"{address}/test")).json()["id"]
        await open_sender(settings).deliver(pool)
    shown = (await editor.get(address)).json()
    assert shown["disabled_at"] is not None
    assert shown["reason"] == "The receiver answered 410 Gone."
    for action in ("test", f"deliveries/{sent}/redeliver"):
        refused = await editor.post(f"{address}/{action}")
        assert_problem(refused, 409)
        assert refused.json()["type"] == "urn:shiplog:disabled"
    assert (await editor.post(f"{address}/enable")).json()["disabled_at"] is None
    assert (await editor.post(f"{address}/test")).status_code == 202


async def test_deliveries_are_listed_by_page(editor: Client, pool: Pool[Record]) -> None:
    opened = (await make(editor)).json()["webhook"]["id"]
    sent = [str(await deliveries.put_ping(pool, opened)) for _ in range(53)]
    address = f"/v1/webhooks/{opened}/deliveries"
    first = (await editor.get(address)).json()
    second = (await editor.get(address, params={"cursor": first["next"]})).json()
    assert (len(first["items"]), len(second["items"]), second["next"]) == (50, 3, None)
    assert [each["id"] for each in first["items"] + second["items"]] == sent[::-1]
    assert_problem(await editor.get(address, params={"cursor": "made-up"}), 400)


async def test_what_is_removed_is_gone_with_its_deliveries(editor: Client, pool: Pool[Record]) -> None:
    address = (await make(editor)).headers["location"]
    await editor.post(f"{address}/test")
    assert (await editor.delete(address)).status_code == 204
    assert await pool.fetchval("SELECT count(*) FROM webhook_deliveries") == 0
    for method, path in (
        *(("GET", ""), ("DELETE", ""), ("GET", "/deliveries"), ("POST", "/test"), ("POST", "/enable")),
        *(("POST", "/rotate"), ("POST", f"/deliveries/{uuid4()}/redeliver")),
    ):
        assert_problem(await editor.request(method, address + path), 404)


async def test_a_delivery_belongs_to_its_webhook(editor: Client) -> None:
    one, other = [(await make(editor)).headers["location"] for _ in range(2)]
    sent = (await editor.post(f"{one}/test")).json()["id"]
    assert_problem(await editor.post(f"{other}/deliveries/{sent}/redeliver"), 404)


async def test_nobody_but_an_editor(
    client: Client, pool: Pool[Record], catalogue_key: dict[str, str]
) -> None:
    address = f"/v1/webhooks/{uuid4()}"
    for method, path in (("GET", "/v1/webhooks"), ("GET", address), ("GET", f"{address}/deliveries")):
        assert_problem(await client.request(method, path), 401)
        assert_problem(await client.request(method, path, headers=catalogue_key), 403)
