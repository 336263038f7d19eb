"""Kills while a read model is rebuilt: the live one serves throughout, the replay ends, and both are equal."""

from __future__ import annotations

import asyncio
import json
from random import Random
from uuid import UUID

import asyncpg
import httpx
import pytest

from projections.engine.registry import PROJECTIONS
from projections.replays.jobs import Replay, begin, find, read_replay
from services.embedded.postgres import Postgres
from services.resources import open_pool
from services.settings import Settings
from tests.faults.test_kills import (
    Fault,
    Trial,
    _kill_a_backend,
    _kill_a_worker,
    _kill_an_api_process,
    _restart_postgres,
    _trial,
    _until_settled,
)
from tests.support.instances import Instance
from tests.support.ports import ports_of

pytestmark = pytest.mark.slow

VOTES, GROUP = 2_000_000, 10_000
FAULTS = (_kill_a_worker, _kill_an_api_process, _kill_a_backend, _restart_postgres)
# Voters made by the server itself, each new, which is many times faster than sending them.
FILL = """
SELECT count(*) FROM append_casts($1::smallint, array_fill('v'::text, ARRAY[$2::integer]),
    array(SELECT gen_random_uuid() FROM generate_series(1, $2::integer)),
    array(SELECT $3::integer FROM generate_series(1, $2::integer)),
    array(SELECT CASE WHEN n % 5 < 3 THEN 'ship' ELSE 'skip' END FROM generate_series(1, $2::integer) AS n),
    array(SELECT uuidv7() FROM generate_series(1, $2::integer)), array_fill('k1'::text, ARRAY[$2::integer]))
"""


async def test_kills_while_a_read_model_is_rebuilt(victim: Instance, kills: int, seed: int) -> None:
    trial, rng = _trial(victim, kills, seed), Random(seed)
    await _fill(victim)
    await _until_settled(victim)
    over = asyncio.Event()
    reading = [asyncio.create_task(_read(port, over)) for port in ports_of(victim.url)]
    try:
        for number in range(kills):
            await _replay_and_kill(trial, rng, FAULTS[number % len(FAULTS)])
    finally:
        over.set()
        seen = await asyncio.gather(*reading)
    print(
        f"\n{kills} replays of {VOTES:,} votes, one kill each; {sum(map(len, seen)):,} answers, seed {seed}"
    )
    assert set.union(*map(set, seen)) == {(VOTES * 3 // 5, VOTES * 2 // 5)}
    assert json.loads(victim.command("verify", "--json"))["equal"]
    if server := Postgres.attach(victim.data):
        victim.process.terminate()
        victim.process.wait(30)
        server.stop()


async def _fill(victim: Instance) -> None:
    conn = await asyncpg.connect(_url(victim))
    tool = await conn.fetchval("SELECT tool FROM slugs WHERE slug = 'uv'")
    for number in range(VOTES // GROUP):
        await conn.fetchval(FILL, 1 + number % 2, GROUP, tool)
    await conn.close()


async def _replay_and_kill(trial: Trial, rng: Random, fault: Fault) -> None:
    """A kill at any moment of the rebuild; whichever worker lives, or comes back, goes on with it."""
    asked = await _ask(trial.instance)
    await asyncio.sleep(rng.random() * 2.0)
    await fault(trial)
    while (now := await _look(trial.instance, asked)) is None or now.goes_on:  # noqa: ASYNC110 - it is another's
        await asyncio.sleep(0.1)
    assert (now.state, now.drift, now.digest) == ("cut-over", 0, now.replaces)


async def _ask(instance: Instance) -> UUID:
    async with await open_pool(_settings(instance), size=1) as pool:
        return await begin(pool, find(PROJECTIONS, "tally"))


async def _look(instance: Instance, asked: UUID) -> Replay | None:
    """None while Postgres is away."""
    try:
        async with await open_pool(_settings(instance), size=1) as pool:
            return await read_replay(pool, asked)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return None


async def _read(port: int, over: asyncio.Event) -> list[tuple[int, int]]:
    """Every tally that was shown. While a process is down, nothing is."""
    shown = []
    async with httpx.AsyncClient(timeout=10) as client:
        while not over.is_set():
            try:
                answer = await client.get(f"http://127.0.0.1:{port}/v1/tools/uv/tally")
            except httpx.TransportError:
                continue
            assert answer.status_code in (200, 503), answer.text
            if answer.status_code == 200:
                shown.append((answer.json()["ship"], answer.json()["skip"]))
    return shown


def _settings(instance: Instance) -> Settings:
    return Settings(database_url=_url(instance), secret=b"no secret is needed here, 32 bytes")


def _url(instance: Instance) -> str:
    server = Postgres.attach(instance.data)
    if server is None:
        raise OSError("Postgres is away")
    return server.url()
