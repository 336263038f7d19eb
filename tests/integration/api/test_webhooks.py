"""Webhooks over HTTP: editors open, rotate, test, read and redeliver; the secret is shown once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest
from msgspec.structs import replace

from projections.flips.advance import advance_flips
from projections.flips.store import begin
from services.embedded.postgres import Postgres
from services.settings import Settings
from services.wakeups import Wakeups
from services.webhooks import deliveries
from services.webhooks.sending import open_sender
from services.workers.jobs import Context
from services.workers.webhooks import send_due, write_flip_deliveries
from tests.integration.conftest import fresh_database, stage_on
from tests.integration.services.test_webhook_deliveries import LOOPBACK
from tests.support.receiver import answer, receiving
from tests.support.stage import (
    Client,
    Log,
    Stage,
    assert_problem,
    list_tool,
    log_in,
    new_visitor,
    publish,
    seat_panel,
)

PUBLIC = "https://hooks.example.com/shiplog"


@pytest.fixture(scope="module")
async def stage(postgres: Postgres, template: str) -> AsyncIterator[Stage]:
    """With the tool `quill`, two reviewers, and receivers on loopback."""
    async with (
        fresh_database(postgres, template, "webhooks") as settings,
        stage_on(replace(settings, webhook_networks=LOOPBACK)) as stage,
    ):
        await list_tool(stage.client, stage.catalogue_key)
        await seat_panel(stage.log, "builder", "skeptic")
        await log_in(stage.client, stage.log, "ed", "editor")
        yield stage


@pytest.fixture
async def editor(stage: Stage) -> Client:
    await stage.log.execute("DELETE FROM webhooks")
    return stage.client


@pytest.fixture(scope="module")
async def strict(stage: Stage) -> AsyncIterator[Client]:
    """An editor of an app that sends only to public addresses."""
    async with stage_on(replace(stage.settings, webhook_networks=())) as strict:
        await log_in(strict.client, strict.log, "strict", "editor")
        await strict.log.execute("DELETE FROM webhooks")
        yield strict.client


@pytest.fixture
def pool(stage: Stage) -> Log:
    return stage.log


@pytest.fixture
def settings(stage: Stage) -> Settings:
    return stage.settings


async def make(editor: Client, url: str = PUBLIC, **more: object) -> httpx.Response:
    return await editor.post("/v1/webhooks", json={"url": url} | more)


async def test_an_editor_opens_a_webhook_tests_it_and_redelivers(
    editor: Client, pool: Log, settings: Settings
) -> None:
    async with receiving(answer(500, body="oh no")) as receiver:
        opened = await make(editor, receiver.url, description="Ours")
        assert opened.status_code == 201, opened.text
        address, secret = opened.headers["location"], opened.json()["secret"]
        sent_test = await editor.post(f"{address}/test")
        assert (sent_test.status_code, sent_test.json()["state"]) == (202, "pending")
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
    assert (message["type"], message["data"]) == ("webhook.ping", {"url": "/"})
    assert done["payload"].encode() == receiver.requests[-1].body


async def test_a_flip_is_sent_to_the_receiver_once(
    editor: Client, pool: Log, settings: Settings, stage: Stage
) -> None:
    """It is not sent again when the flip log is rebuilt."""
    await publish(editor, stage.catalogue_key, "quill", "builder", 90, "ship")
    async with receiving(answer(200)) as receiver:
        secret = (await make(editor, receiver.url)).json()["secret"]
        await publish(editor, stage.catalogue_key, "quill", "skeptic", 10, "skip")
        ctx = Context(pool=pool, wakeups=Wakeups(None), sender=open_sender(settings))
        await find_flips(pool)
        assert (await write_flip_deliveries(ctx), await send_due(ctx)) == (1, 1)
        async with pool.acquire() as conn, conn.transaction():
            await begin(conn)
        await find_flips(pool)
        assert (await write_flip_deliveries(ctx), await send_due(ctx)) == (0, 0)
    data = receiver.requests[0].verified(secret)["data"]
    assert data["tool"] == {"slug": "quill", "name": "Quill"}
    assert (data["before"], data["after"], data["event"]) == ("Ship", "Split", "TakePublished")


async def find_flips(pool: Log) -> None:
    while await advance_flips(pool) is not None:
        pass


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


async def test_tools_are_named_by_slug(editor: Client) -> None:
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
async def test_a_url_that_is_no_public_endpoint_is_rejected(strict: Client, url: str) -> None:
    """With the default setting, which allows no private networks."""
    assert_problem(await make(strict, url), 400)
    assert (await strict.get("/v1/webhooks")).json()["items"] == []


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
async def test_invalid_bodies_are_rejected(editor: Client, body: object) -> None:
    assert_problem(await editor.post("/v1/webhooks", json=body), 400)


async def test_a_disabled_webhook_rejects_messages_until_it_is_enabled(
    editor: Client, pool: Log, settings: Settings
) -> None:
    async with receiving(answer(410)) as receiver:
        address = (await make(editor, receiver.url)).headers["location"]
        sent = (await editor.post(f"{address}/test")).json()["id"]
        await open_sender(settings).deliver(pool)
    assert 'shiplog_webhooks{state="disabled"} 1.0' in (await editor.get("/metrics")).text
    shown = (await editor.get(address)).json()
    assert shown["disabled_at"] is not None
    assert shown["reason"] == "The receiver answered 410 Gone."
    for action in ("test", f"deliveries/{sent}/redeliver"):
        rejected = await editor.post(f"{address}/{action}")
        assert_problem(rejected, 409)
        assert rejected.json()["type"] == "urn:shiplog:disabled"
    assert (await editor.post(f"{address}/enable")).json()["disabled_at"] is None
    assert (await editor.post(f"{address}/test")).status_code == 202


async def test_deliveries_are_listed_by_page(editor: Client, pool: Log) -> None:
    opened = (await make(editor)).json()["webhook"]["id"]
    sent = [str(await deliveries.enqueue_ping(pool, opened)) for _ in range(53)]
    address = f"/v1/webhooks/{opened}/deliveries"
    first = (await editor.get(address)).json()
    second = (await editor.get(address, params={"cursor": first["next"]})).json()
    assert (len(first["items"]), len(second["items"]), second["next"]) == (50, 3, None)
    assert [each["id"] for each in first["items"] + second["items"]] == sent[::-1]
    assert_problem(await editor.get(address, params={"cursor": "made-up"}), 400)


async def test_removing_a_webhook_removes_its_deliveries(editor: Client, pool: Log) -> None:
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


async def test_webhooks_are_for_editors_only(stage: Stage) -> None:
    visitor, address = new_visitor(stage.client), f"/v1/webhooks/{uuid4()}"
    for path in ("/v1/webhooks", address, f"{address}/deliveries"):
        assert_problem(await visitor.get(path), 401)
        assert_problem(await visitor.get(path, headers=dict(stage.catalogue_key)), 403)
