"""Kills while verdicts flip: the receiver gets every flip, with one message id, however often it is sent."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from random import Random

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from tests.faults.test_kills import _kill_a_backend, _kill_a_worker, _new_fault_run, _poll
from tests.support.instances import Instance

pytestmark = pytest.mark.slow

TOOL = {
    "name": "Flipper",
    "category": {"slug": "flippers", "name": "Flippers"},
    "pricing": {"entry": "Free", "detail": ""},
}
FLIPS_A_FAULT = 20
FAULTS = (_kill_a_worker, _kill_a_worker, _kill_a_backend)
WAIT_SECONDS_MAX = 120  # a claim expires after 30


class Receiver(ThreadingHTTPServer):
    """Answers after 50 ms: 503 to the first attempt of every seventh message, else 200, and stores the message."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.attempts: list[str] = []
        self.received: list[tuple[dict[str, str], bytes]] = []


class _Answer(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        fresh = self.headers["webhook-id"] not in self.server.attempts
        self.server.attempts.append(self.headers["webhook-id"])
        time.sleep(0.05)
        status = 503 if fresh and len(set(self.server.attempts)) % 7 == 0 else 200
        if status == 200:
            self.server.received.append((dict(self.headers), body))
        self.send_response(status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        yield receiver
        receiver.shutdown()


async def test_kills_while_flips_are_delivered(
    victim: Instance, receiver: Receiver, kills: int, seed: int
) -> None:
    fault_run, rng = _new_fault_run(victim, kills, seed), Random(seed)
    user = json.loads(victim.command("users", "create", "teller", "--role", "editor", "--json"))
    async with httpx.AsyncClient(base_url=victim.url, timeout=10) as editor:
        login = {"name": "teller", "password": user["password"]}
        assert (await editor.post("/v1/session", json=login)).status_code == 200
        assert (await editor.put("/v1/tools/flipper", json=TOOL)).status_code == 201
        url = f"http://127.0.0.1:{receiver.server_port}/"
        secret = (await editor.post("/v1/webhooks", json={"url": url, "tools": ["flipper"]})).json()["secret"]
        choices = cycle(("ship", "skip"))
        for number in range(kills):
            fault = asyncio.create_task(FAULTS[number % len(FAULTS)](fault_run))
            for _ in range(FLIPS_A_FAULT):
                await _publish_take(editor, next(choices))
                await asyncio.sleep(rng.random() * 0.1)
            await fault
    wanted = await _flips(victim, kills * FLIPS_A_FAULT)
    await _wait_until_received(receiver, wanted)
    ids = {headers["webhook-id"]: body for headers, body in receiver.received}
    assert len(ids) == len(wanted)
    assert [Webhook(secret).verify(body, headers) for headers, body in receiver.received[-3:]]
    assert all(ids[headers["webhook-id"]] == body for headers, body in receiver.received)
    print(f"\n{kills} kills, {len(wanted)} flips, {len(receiver.attempts)} attempts, seed {seed}")


async def _publish_take(editor: httpx.AsyncClient, choice: str) -> None:
    """Publish the take, and repeat the request until it is acknowledged."""
    body = {"score": 90 if choice == "ship" else 10, "choice": choice, "text": ""}
    while True:
        answer = await editor.put("/v1/tools/flipper/takes/builder", json=body)
        if answer.status_code in (200, 201):
            return
        assert answer.status_code == 503, answer.text
        await asyncio.sleep(0.05)


async def _flips(victim: Instance, count: int) -> set[str]:
    """The positions of all flips, once ``count`` have been found."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            positions, cursor = set[str](), None
            while cursor is not None or not positions:
                params = {"tool": "flipper", "limit": "100"} | ({"cursor": cursor} if cursor else {})
                page = (await _poll(victim, "/v1/verdicts/flips", params)).json()
                positions |= {flip["position"] for flip in page["items"]}
                cursor = page["next"]
                if not page["items"]:
                    break
            if len(positions) >= count:
                return positions
            await asyncio.sleep(0.1)


async def _wait_until_received(receiver: Receiver, wanted: set[str]) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while {json.loads(body)["data"]["position"] for _, body in list(receiver.received)} != wanted:  # noqa: ASYNC110 - workers send
            await asyncio.sleep(0.1)
