"""Webhooks: each flip is sent once to each webhook, signed, only to the checked address, until delivered or given up."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from random import Random
from typing import TypeAlias
from uuid import UUID

import pytest
from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec.structs import replace

from domain.rulebooks.rulebook import Label
from domain.shared.log import Shard
from domain.timeline.flips import Flip, LogOrder
from domain.webhooks.endpoints import Address
from domain.webhooks.messages import ATTEMPTS_MAX, encode_secret
from projections.flips.store import flips_after
from services.embedded.postgres import Postgres
from services.resources import open_pool
from services.settings import Settings
from services.webhooks import deliveries, registry
from services.webhooks.deliveries import Delivery, enqueue_ping, read_deliveries, send_again
from services.webhooks.outbox import write_deliveries
from services.webhooks.registry import Disabled, TooMany, enable, open_webhook, read_webhook, rotate
from services.webhooks.secrets import WebhookSecrets
from services.webhooks.sending import BODY_BYTES_MAX, Sender, open_sender
from tests.integration.conftest import fresh_database
from tests.support.receiver import Respond, answer, endless, never, receiving, stalled, tls_contexts

ROOT = str(Path(__file__).resolve().parents[3])
SITE = "https://shiplog.example"
LOOPBACK = (ip_network("127.0.0.0/8"),)
NAME_TOOLS = """
INSERT INTO slugs (slug, tool) SELECT 'tool-' || n, n FROM generate_series(1, 40) AS n ON CONFLICT DO NOTHING
"""
CLEAR = "DELETE FROM webhooks; DELETE FROM flips"
PUT_FLIP = """
INSERT INTO flips (shard, recorded_at, cause_shard, cause_position, tool, event, before, after, rulebook)
VALUES (0, $1, $2, $3, $4, $5, $6, $7, $8)
"""
# Instead of waiting, tests move times.
MAKE_DUE = "UPDATE webhook_deliveries SET next_at = now() WHERE state = 'pending'"
AGE_FAILURE = "UPDATE webhooks SET failing_since = failing_since - $1::interval"
SET_ATTEMPTS = "UPDATE webhook_deliveries SET attempts = $1"
COUNT_DELIVERIES = "SELECT count(*) FROM webhook_deliveries WHERE webhook = $1"
READ_CAUSES = """
SELECT caused_at, cause_shard, cause_number, tool FROM webhook_deliveries WHERE webhook = $1
 ORDER BY caused_at, cause_shard, cause_number, tool
"""

Log: TypeAlias = "Pool[Record]"


@pytest.fixture(scope="module")
async def shared(postgres: Postgres, template: str) -> AsyncIterator[Settings]:
    async with fresh_database(postgres, template, "webhooks") as settings:
        yield replace(settings, webhook_networks=LOOPBACK)


@pytest.fixture
def settings(shared: Settings) -> Settings:
    return shared


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Log]:
    """A log with forty tools, no flips and no webhooks."""
    async with await open_pool(settings, size=8) as pool:
        await pool.execute(NAME_TOOLS)
        await pool.execute(CLEAR)
        yield pool


@pytest.fixture
def keys(settings: Settings) -> WebhookSecrets:
    return WebhookSecrets(settings)


@pytest.fixture
def sender(settings: Settings) -> Sender:
    return open_sender(settings)


async def open_to(
    pool: Log, keys: WebhookSecrets, url: str, tools: Sequence[int] | None = None
) -> tuple[UUID, str]:
    webhook_id, secret = await open_webhook(pool, keys, url, "", tools, SITE)
    return webhook_id, encode_secret(secret)


async def attempt(pool: Log, sender: Sender, url: str) -> Delivery:
    """The delivery after one attempt to send a ping to ``url``."""
    webhook_id, _ = await open_to(pool, sender.keys, url)
    await enqueue_ping(pool, webhook_id)
    assert await sender.deliver(pool)
    (delivery,) = await read_deliveries(pool, webhook_id, None, 10)
    return delivery


# The outbox: from flips to deliveries.


@dataclass
class FlipLog:
    """Flips in log order, as the read model returns them."""

    flips: list[Flip]

    async def after(self, conn: PoolConnectionProxy[Record], place: LogOrder, limit: int) -> list[Flip]:
        ahead = [flip for flip in self.flips if flip.order > place]
        return [flip for flip in ahead if flip.order <= ahead[:limit][-1].order]


def flips(rng: Random, count: int, begin: datetime) -> list[Flip]:
    """Some share one cause: an adoption flips many tools at once."""
    result: list[Flip] = []
    at, number = begin, 0
    while len(result) < count:
        at, number = at + timedelta(microseconds=rng.choice((0, 1, 1_000))), number + 1
        tools = rng.sample(range(1, 41), rng.choice((1, 1, 1, 30)))
        place, labels = LogOrder(at, Shard(rng.randrange(1)), number), ("Ship", "Skip")
        result += [Flip(tool, *labels, place, "VoteCast", "rulebook") for tool in sorted(tools)]
    return result


def identities(flips: Sequence[Flip]) -> list[tuple[object, ...]]:
    return [(flip.order.recorded_at, flip.order.shard, flip.order.number, flip.tool) for flip in flips]


async def test_each_flip_is_delivered_once_with_concurrent_writers_and_any_batch_size(
    pool: Log, keys: WebhookSecrets
) -> None:
    everything, _ = await open_to(pool, keys, "https://hooks.example.com/")
    some, _ = await open_to(pool, keys, "https://hooks.example.com/", [1, 2, 3])
    rng, log = Random(5), FlipLog([])
    whole = flips(rng, 300, datetime.now(UTC) + timedelta(seconds=1))
    while len(log.flips) < len(whole):
        # The read model advances by whole events.
        upto = rng.randrange(len(log.flips) + 1, len(whole) + 1)
        log.flips = [flip for flip in whole if flip.order <= whole[upto - 1].order]
        await asyncio.gather(*(write_deliveries(pool, log.after, rng.choice((2, 7, 50))) for _ in range(3)))
    assert await write_deliveries(pool, log.after) == 0
    assert [tuple(row) for row in await pool.fetch(READ_CAUSES, everything)] == identities(whole)
    assert [tuple(row) for row in await pool.fetch(READ_CAUSES, some)] == identities(
        [flip for flip in whole if flip.tool in (1, 2, 3)]
    )


async def test_a_rebuilt_flip_log_sends_nothing_again(pool: Log, keys: WebhookSecrets) -> None:
    webhook_id, _ = await open_to(pool, keys, "https://hooks.example.com/")
    whole = flips(Random(6), 60, datetime.now(UTC) + timedelta(seconds=1))
    assert await write_deliveries(pool, FlipLog(whole).after) == len(whole)
    for upto in (0, 20, len(whole)):  # empty, half built, whole again, and other flips than before
        rebuilt = [replace(flip, tool=flip.tool % 40 + 1) for flip in whole[:upto]]
        assert await write_deliveries(pool, FlipLog(rebuilt).after) == 0
    assert await pool.fetchval(COUNT_DELIVERIES, webhook_id) == len(whole)


async def test_a_new_webhook_gets_no_earlier_flips(pool: Log, keys: WebhookSecrets) -> None:
    before = flips(Random(7), 20, datetime.now(UTC) - timedelta(days=3))
    webhook_id, _ = await open_to(pool, keys, "https://hooks.example.com/")
    after = flips(Random(8), 20, datetime.now(UTC) + timedelta(seconds=1))
    assert await write_deliveries(pool, FlipLog(before + after).after) == len(after)
    assert [tuple(row) for row in await pool.fetch(READ_CAUSES, webhook_id)] == identities(after)


async def test_a_webhook_gets_no_flips_from_the_time_it_was_disabled(
    pool: Log, keys: WebhookSecrets, sender: Sender
) -> None:
    async with receiving(answer(410)) as receiver:
        gone = await attempt(pool, sender, receiver.url)
    assert (gone.state, gone.status) == ("failed", 410)
    (webhook,) = await registry.read_webhooks(pool)
    assert webhook.reason == "The receiver answered 410 Gone."
    assert webhook.disabled_at is not None
    missed = LogOrder(webhook.disabled_at + timedelta(microseconds=1), Shard(1), 1)
    log = FlipLog([Flip(1, "Ship", "Skip", missed, "VoteCast", "rulebook")])
    assert await write_deliveries(pool, log.after) == 0
    with pytest.raises(Disabled, match=r"410 Gone\. Enable it first"):
        await enqueue_ping(pool, webhook.id)
    with pytest.raises(Disabled):
        await send_again(pool, webhook.id, gone.id)
    assert (await enable(pool, webhook.id)).disabled_at is None
    later = flips(Random(9), 5, datetime.now(UTC) + timedelta(seconds=1))
    assert await write_deliveries(pool, FlipLog(log.flips + later).after) == len(later)


async def test_a_batch_includes_all_flips_of_an_adoption(pool: Log, keys: WebhookSecrets) -> None:
    webhook_id, _ = await open_to(pool, keys, "https://hooks.example.com/")
    whole = flips(Random(10), 100, datetime.now(UTC) + timedelta(seconds=1))
    rows = [(*identity, "RulebookAdopted", "Ship", "Skip", "rulebook") for identity in identities(whole)]
    await pool.executemany(PUT_FLIP, rows)
    assert await write_deliveries(pool, flips_after, 2) == len(whole)
    assert [tuple(row) for row in await pool.fetch(READ_CAUSES, webhook_id)] == identities(whole)


# Sending: messages that arrive.


async def test_a_flip_arrives_signed(pool: Log, keys: WebhookSecrets, sender: Sender) -> None:
    async with receiving(answer(204)) as receiver:
        webhook_id, secret = await open_to(pool, keys, receiver.url)
        place = LogOrder(datetime.now(UTC) + timedelta(seconds=1), Shard(2), 7)
        labels: tuple[Label, Label] = ("Split", "Skip")
        await write_deliveries(pool, FlipLog([Flip(3, *labels, place, "VoteCast", "a1b2")]).after)
        assert await sender.deliver(pool)
        assert not await sender.deliver(pool)
    (request,) = receiver.requests
    message = request.verified(secret)
    assert message["type"] == "verdict.flipped"
    assert message["data"]["tool"] == {"slug": "tool-3", "name": "tool-3"}
    assert (message["data"]["before"], message["data"]["after"], message["data"]["position"]) == (
        "Split",
        "Skip",
        "2.7",
    )
    assert message["data"]["url"] == f"{SITE}/tools/tool-3"
    assert (request.target, request.headers["host"]) == ("/hook?a=b", f"127.0.0.1:{receiver.port}")
    (delivery,) = await read_deliveries(pool, webhook_id, None, 10)
    assert (delivery.state, delivery.attempts, delivery.status) == ("delivered", 1, 204)
    assert delivery.payload.encode() == request.body
    assert deliveries.message_id(delivery.id) == request.headers["webhook-id"]


async def test_the_old_secret_signs_as_well_until_it_expires(
    pool: Log, keys: WebhookSecrets, sender: Sender
) -> None:
    async with receiving(answer(200)) as receiver:
        webhook_id, old = await open_to(pool, keys, receiver.url)
        new = encode_secret(await rotate(pool, keys, webhook_id))
        await enqueue_ping(pool, webhook_id)
        assert await sender.deliver(pool)
        assert receiver.requests[0].verified(old) == receiver.requests[0].verified(new)
        await pool.execute("UPDATE webhooks SET old_until = now()")
        await enqueue_ping(pool, webhook_id)
        assert await sender.deliver(pool)
        assert receiver.requests[1].verified(new)["type"] == "webhook.ping"
        assert len(receiver.requests[1].headers["webhook-signature"].split()) == 1


async def test_secrets_are_stored_encrypted_and_another_key_cannot_decrypt_them(
    pool: Log, settings: Settings, sender: Sender
) -> None:
    async with receiving(answer(200)) as receiver:
        webhook_id, secret = await open_webhook(pool, sender.keys, receiver.url, "", None, SITE)
        stored = await pool.fetchval("SELECT secret FROM webhooks")
        assert secret not in stored
        await enqueue_ping(pool, webhook_id)
        other = replace(sender, keys=WebhookSecrets(replace(settings, secret=b"x" * 32)))
        assert await other.deliver(pool)
        assert receiver.requests == []
    (delivery,) = await read_deliveries(pool, webhook_id, None, 10)
    assert delivery.error == "Another SHIPLOG_SECRET encrypted the secret of this webhook. Rotate it."


async def test_a_request_goes_to_the_checked_address_with_the_host_and_certificate_of_the_name(
    pool: Log, sender: Sender, tmp_path: Path
) -> None:
    server, client = tls_contexts(tmp_path, "hooks.example.com")
    async with receiving(answer(200), tls=server) as receiver:
        named = replace(sender, tls=client, resolve=always("127.0.0.1"))
        sent = await attempt(pool, named, f"https://hooks.example.com:{receiver.port}/")
        assert (sent.state, sent.error) == ("delivered", None)
        assert receiver.names == ["hooks.example.com"]
        assert receiver.requests[0].headers["host"] == f"hooks.example.com:{receiver.port}"
        other = await attempt(pool, named, f"https://other.example.com:{receiver.port}/")
        assert "certificate" in str(other.error).lower()
        without_certificate = replace(named, tls=ssl.create_default_context())
        refused = await attempt(pool, without_certificate, f"https://hooks.example.com:{receiver.port}/")
        assert "certificate" in str(refused.error).lower()
        assert len(receiver.requests) == 1


# Sending: messages that do not arrive.


def always(*addresses: str) -> Resolver:
    return Resolver([addresses])


class Resolver:
    """Returns the answers in turn, then the last one for ever."""

    def __init__(self, answers: Sequence[Sequence[str]]) -> None:
        self.answers, self.asked = list(answers), 0

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        found = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [ip_address(address) for address in found]


async def test_dns_rebinding_does_not_redirect_a_message(pool: Log, sender: Sender) -> None:
    """The name is in no real DNS, so a second look-up would fail."""
    async with receiving(answer(200)) as checked, receiving(answer(200), "127.0.0.2", checked.port) as other:
        rebinding = Resolver([["127.0.0.1"], ["127.0.0.2"]])
        first = await attempt(
            pool, replace(sender, resolve=rebinding), f"http://rebind.example.com:{checked.port}/"
        )
        assert (first.state, rebinding.asked) == ("delivered", 1)
        assert (len(checked.requests), len(other.requests)) == (1, 0)


@pytest.mark.parametrize(
    "answers",
    [
        *(["10.0.0.1"], ["169.254.169.254"], ["::1"], ["::ffff:10.0.0.1"], ["64:ff9b::a00:1"], ["0.0.0.0"]),
        *(["127.0.0.1", "10.0.0.1"], ["1.1.1.1", "::1"], ["1.1.1.1", "fd00::1"]),
    ],
)
async def test_a_name_with_a_private_address_is_not_contacted(
    pool: Log, sender: Sender, answers: list[str]
) -> None:
    async with receiving(answer(200)) as receiver:
        delivery = await attempt(
            pool, replace(sender, resolve=Resolver([answers])), f"https://hooks.example.com:{receiver.port}/"
        )
        assert "resolves to an address that is not public" in str(delivery.error)
        assert (delivery.state, delivery.status, receiver.requests) == ("pending", None, [])


async def test_loopback_is_refused_unless_it_is_configured(
    pool: Log, settings: Settings, keys: WebhookSecrets
) -> None:
    async with receiving(answer(200)) as receiver:
        strict = open_sender(replace(settings, webhook_networks=()))
        for url in (
            receiver.url,
            f"https://127.0.0.1:{receiver.port}/",
            f"https://localhost:{receiver.port}/",
        ):
            delivery = await attempt(pool, strict, url)
            assert "cannot be sent to this URL" in str(delivery.error)
        assert receiver.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(pool: Log, sender: Sender, status: int) -> None:
    async with receiving(answer(200)) as inside:
        async with receiving(answer(status, f"location: {inside.url}\r\n")) as receiver:
            delivery = await attempt(pool, sender, receiver.url)
        assert (delivery.state, delivery.status) == ("pending", status)
        assert "redirects are not followed" in str(delivery.error)
        assert inside.requests == []


async def test_no_proxy_of_the_environment_is_used(
    pool: Log, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(answer(200)) as proxy, receiving(answer(200)) as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert (await attempt(pool, sender, receiver.url)).state == "delivered"
        assert (len(proxy.requests), len(receiver.requests)) == (0, 1)


async def test_the_next_address_is_tried_when_one_refuses_connections(pool: Log, sender: Sender) -> None:
    async with receiving(answer(200), "127.0.0.2") as receiver:
        # Servers of other tests may listen on this port of 127.0.0.1.
        both = replace(sender, resolve=always("127.0.0.3", "127.0.0.2"))
        delivery = await attempt(pool, both, f"http://hooks.example.com:{receiver.port}/")
        assert (delivery.state, len(receiver.requests)) == ("delivered", 1)


@pytest.mark.parametrize(
    ("respond", "state"),
    [
        (never, "pending"),
        (stalled, "delivered"),
        (endless("HTTP/1.1 200 OK\r\n\r\n", b"more\x00\n" * 1_000), "delivered"),
        (endless("HTTP/1.1 500 x\r\n\r\n", b"more " * 1_000), "pending"),
        (
            endless(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"800\r\n" + b"m" * 2_048 + b"\r\n"
            ),
            "delivered",
        ),
        (endless("HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 1_000), "pending"),
        (endless("", b"x" * 10_000), "pending"),
        (answer(200, "content-encoding: gzip\r\n", "no gzip"), "delivered"),
        (endless("HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"), "pending"),
    ],
    ids=["silent", "stalled", "endless", "endless-500", "chunked", "headers", "no-http", "gzip", "100s"],
)
async def test_slow_and_endless_answers_are_cut_off(
    pool: Log, sender: Sender, respond: Respond, state: str
) -> None:
    async with receiving(respond) as receiver:
        delivery = await attempt(pool, replace(sender, timeout=0.4), receiver.url)
    assert delivery.state == state
    assert len(delivery.response.encode()) <= BODY_BYTES_MAX
    assert delivery.response.isprintable()


async def test_an_attempt_times_out_while_it_connects(pool: Log, sender: Sender) -> None:
    """A listener with a full backlog does not answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        with socket.create_connection(address):
            delivery = await attempt(pool, replace(sender, timeout=0.3), f"http://127.0.0.1:{address[1]}/")
    assert (delivery.state, delivery.error) == ("pending", "no answer within 0.3 s")


async def test_an_unknown_name_fails(pool: Log, sender: Sender) -> None:
    delivery = await attempt(pool, replace(sender, resolve=always()), "https://hooks.example.com/")
    assert "the name hooks.example.com was not found" in str(delivery.error)


async def test_a_refused_connection_fails(pool: Log, sender: Sender) -> None:
    async with receiving(answer(200)) as receiver:
        pass
    delivery = await attempt(pool, sender, receiver.url)
    assert (delivery.state, delivery.status) == ("pending", None)
    assert str(delivery.error).startswith("the connection failed")


# Settling: retry, give up, send again.


async def test_a_message_is_retried_with_the_same_id_until_it_is_delivered(
    pool: Log, keys: WebhookSecrets, sender: Sender
) -> None:
    async with receiving(answer(503, "retry-after: 7200\r\n", "later")) as receiver:
        delivery = await attempt(pool, sender, receiver.url)
        assert (delivery.state, delivery.attempts, delivery.response) == ("pending", 1, "later")
        assert delivery.next_at is not None
        assert delivery.next_at > datetime.now(UTC) + timedelta(minutes=100)
        assert not await sender.deliver(pool)
        receiver.respond = answer(200)
        await pool.execute(MAKE_DUE)
        assert await sender.deliver(pool)
    one, other = receiver.requests
    assert one.headers["webhook-id"] == other.headers["webhook-id"]
    assert one.body == other.body
    assert (await registry.read_webhooks(pool))[0].failing_since is None


async def test_three_days_of_failures_disable_a_webhook(pool: Log, sender: Sender) -> None:
    async with receiving(answer(500)) as receiver:
        webhook_id, _ = await open_to(pool, sender.keys, receiver.url)
        await enqueue_ping(pool, webhook_id)
        for attempts in range(1, ATTEMPTS_MAX + 1):
            (before,) = await read_deliveries(pool, webhook_id, None, 10)
            assert (before.state, before.attempts) == ("pending", attempts - 1)
            await pool.execute(MAKE_DUE)
            assert await sender.deliver(pool)
        (given_up,) = await read_deliveries(pool, webhook_id, None, 10)
        assert (given_up.state, given_up.attempts, given_up.next_at) == ("failed", ATTEMPTS_MAX, None)
        assert (await read_webhook(pool, webhook_id)).disabled_at is None  # less than three days have passed
        await enqueue_ping(pool, webhook_id)
        await enqueue_ping(pool, webhook_id)
        await pool.execute(AGE_FAILURE, timedelta(days=3))
        await pool.execute(SET_ATTEMPTS, ATTEMPTS_MAX - 1)
        assert await sender.deliver(pool)
    webhook = await read_webhook(pool, webhook_id)
    assert webhook.reason == "Nothing got through for three days."
    assert {each.state for each in await read_deliveries(pool, webhook_id, None, 10)} == {"failed"}
    assert not await sender.deliver(pool)


async def test_a_failed_message_that_is_sent_again_has_all_its_attempts(pool: Log, sender: Sender) -> None:
    async with receiving(answer(500)) as receiver:
        webhook_id, _ = await open_to(pool, sender.keys, receiver.url)
        sent = await enqueue_ping(pool, webhook_id)
        await pool.execute(SET_ATTEMPTS, ATTEMPTS_MAX - 1)
        assert await sender.deliver(pool)
        assert (await deliveries.read_delivery(pool, webhook_id, sent)).state == "failed"
        await send_again(pool, webhook_id, sent)
        receiver.respond = answer(200)
        assert await sender.deliver(pool)
    again = await deliveries.read_delivery(pool, webhook_id, sent)
    assert (again.state, again.attempts) == ("delivered", 1)


async def test_a_slow_receiver_has_one_message_in_flight_and_delays_no_other(
    pool: Log, sender: Sender
) -> None:
    async with receiving(never) as slow, receiving(answer(200)) as quick:
        stuck, _ = await open_to(pool, sender.keys, slow.url)
        for _ in range(3):
            await enqueue_ping(pool, stuck)
        waiting = asyncio.create_task(sender.deliver(pool))
        await slow.received.wait()
        assert not await sender.deliver(pool)
        assert (await attempt(pool, sender, quick.url)).state == "delivered"
        waiting.cancel()
    assert len(slow.requests) == 1


async def test_an_answer_after_the_lease_has_expired_is_ignored(pool: Log, sender: Sender) -> None:
    webhook_id, _ = await open_to(pool, sender.keys, "http://127.0.0.1:9/")
    sent = await enqueue_ping(pool, webhook_id)
    late = await deliveries.claim(pool)
    assert late is not None
    await pool.execute(MAKE_DUE)
    assert await deliveries.claim(pool) is not None
    await deliveries.settle(pool, late, deliveries.AttemptResult(status=410))
    assert (await deliveries.read_delivery(pool, webhook_id, sent)).state == "pending"
    assert (await read_webhook(pool, webhook_id)).disabled_at is None


async def test_the_message_of_a_killed_worker_is_sent_by_the_next(
    pool: Log, settings: Settings, sender: Sender
) -> None:
    async with receiving(never) as receiver:
        webhook_id, secret = await open_to(pool, sender.keys, receiver.url)
        sent = await enqueue_ping(pool, webhook_id)
        worker = await start_worker(settings)
        async with asyncio.timeout(30):
            await receiver.received.wait()
        worker.kill()
        await worker.wait()
        assert (await deliveries.read_delivery(pool, webhook_id, sent)).state == "pending"
        receiver.respond = answer(200)
        await pool.execute(MAKE_DUE)
        assert await sender.deliver(pool)
    assert (await deliveries.read_delivery(pool, webhook_id, sent)).attempts == 2
    one, other = (request.verified(secret) for request in receiver.requests)
    assert one == other


async def start_worker(settings: Settings) -> asyncio.subprocess.Process:
    environment = {
        "DATABASE_URL": settings.database_url,
        "SHIPLOG_SECRET": settings.secret.decode(),
        "SHIPLOG_WEBHOOK_NETWORKS": "127.0.0.0/8",
        "PYTHONPATH": ROOT,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.cli", "work", env=environment, stdout=asyncio.subprocess.DEVNULL
    )


async def test_old_deliveries_are_deleted(pool: Log, sender: Sender) -> None:
    async with receiving(answer(200)) as receiver:
        await attempt(pool, sender, receiver.url)
    await deliveries.delete_old(pool)
    assert await pool.fetchval("SELECT count(*) FROM webhook_deliveries") == 1
    await pool.execute("UPDATE webhook_deliveries SET updated_at = now() - interval '31 days'")
    await deliveries.delete_old(pool)
    assert await pool.fetchval("SELECT count(*) FROM webhook_deliveries") == 0


async def test_the_number_of_webhooks_is_limited(
    pool: Log, keys: WebhookSecrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "WEBHOOKS_MAX", 3)
    tried = await asyncio.gather(
        *(open_to(pool, keys, "https://hooks.example.com/") for _ in range(6)), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in tried) == ["TooMany"] * 3 + ["tuple"] * 3
    assert isinstance(next(each for each in tried if isinstance(each, Exception)), TooMany)


def test_a_message_is_small() -> None:
    """The specification recommends less than 20 kB."""
    from domain.webhooks.messages import ToolPayload, flip_message

    flip = Flip(
        1, "Unreviewed", "Unreviewed", LogOrder(datetime.now(UTC), Shard(1), 10**18), "VoteCast", "f" * 64
    )
    body = flip_message(flip, ToolPayload("s" * 100, "\U0001f6a2" * 120), "https://" + "h" * 253)
    assert json.loads(body)["type"] == "verdict.flipped"
    assert len(body) < 20_000
