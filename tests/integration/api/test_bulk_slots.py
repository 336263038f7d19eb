"""Bulk slots: slow bodies make room for other senders, one key cannot take all, and a revoked key stops counting."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest

from services.api.http.overload import bulk_slots
from services.api.http.overload.bulk_slots import KEY_SLOTS_MAX, SLOTS_MAX
from services.api.routes import bulk
from services.auth import identity
from services.cli.commands.keys import create_key
from tests.support.stage import Headers, Stage, assert_problem

NDJSON = {"Content-Type": "application/x-ndjson"}


def line(voter: str) -> bytes:
    return json.dumps({"tool": "quill", "choice": "ship", "voter": voter}).encode() + b"\n"


class DrippedBody:
    """One line at once, and another one when ``go`` is set."""

    def __init__(self, name: str) -> None:
        self.name, self.go, self.read = name, asyncio.Event(), asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield line(f"{self.name} 1")
        self.read.set()
        await self.go.wait()
        yield line(f"{self.name} 2")


async def new_key(stage: Stage) -> Headers:
    key = await create_key(stage.settings, stage.log, "sender", ("votes:write",))
    return {"Authorization": f"Bearer {key.key}"}


async def send(stage: Stage, key: Mapping[str, str], body: bytes | DrippedBody) -> httpx.Response:
    return await stage.client.post("/v1/votes/bulk", content=body, headers={**key, **NDJSON})


@pytest.fixture
def slow_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_slots, "SLOW_SECONDS", 0.0)


async def drip(
    stage: Stage, key: Headers, count: int
) -> tuple[list[DrippedBody], list[asyncio.Task[httpx.Response]]]:
    bodies = [DrippedBody(f"drip {n}") for n in range(count)]
    sending = [asyncio.create_task(send(stage, key, body)) for body in bodies]
    await asyncio.gather(*(body.read.wait() for body in bodies))
    return bodies, sending


@pytest.mark.usefixtures("slow_at_once")
async def test_dripped_bodies_of_any_keys_make_room_for_another_sender(stage: Stage) -> None:
    first, second, honest = [await new_key(stage) for _ in range(3)]
    bodies, sending = await drip(stage, first, KEY_SLOTS_MAX)
    more, sending_more = await drip(stage, second, SLOTS_MAX - KEY_SLOTS_MAX)
    assert (await send(stage, honest, line("honest"))).status_code == 200
    done, _ = await asyncio.wait([*sending, *sending_more], return_when=asyncio.FIRST_COMPLETED)
    (ended,) = [task.result() for task in done]
    assert_problem(ended, 408)
    assert "1 good line was stored" in ended.json()["detail"]
    for body in (*bodies, *more):
        body.go.set()
    answers = await asyncio.gather(*sending, *sending_more)
    assert sorted(each.status_code for each in answers) == [200] * (SLOTS_MAX - 1) + [408]


async def test_one_key_leaves_slots_to_others_at_once(stage: Stage) -> None:
    greedy, honest = await new_key(stage), await new_key(stage)
    bodies, sending = await drip(stage, greedy, KEY_SLOTS_MAX)
    rejected = await send(stage, greedy, line("one more"))
    assert (rejected.status_code, rejected.headers["retry-after"]) == (503, "1")
    assert (await send(stage, honest, line("honest"))).status_code == 200
    for body in bodies:
        body.go.set()
    assert {each.status_code for each in await asyncio.gather(*sending)} == {200}


async def test_a_body_below_the_least_rate_is_ended(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_slots, "WAIT_SECONDS_MAX", 0.0)
    monkeypatch.setattr(bulk_slots, "BYTES_PER_SECOND_MIN", 10**9)
    ended = await send(stage, await new_key(stage), line("slow"))
    assert_problem(ended, 408)
    assert "Nothing was stored" in ended.json()["detail"]
    assert ended.headers["connection"] == "close"


async def test_a_key_revoked_during_a_body_stops_counting(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "KEY_CHECK_SECONDS", 0.0)
    monkeypatch.setattr(identity, "KEY_CACHE_SECONDS", 0.0)
    key = await new_key(stage)
    (body,), (sending,) = await drip(stage, key, 1)
    before = await stage.log.fetchval("SELECT sum(position) FROM heads")
    await stage.log.execute("UPDATE api_keys SET revoked_at = now() WHERE name = 'sender'")
    body.go.set()
    ended = await sending
    assert_problem(ended, 401)
    assert "Nothing was stored" in ended.json()["detail"]
    assert await stage.log.fetchval("SELECT sum(position) FROM heads") == before
