"""Replays over HTTP: only editors start, follow and decide them; drift is public."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest
from asyncpg import Pool, Record
from litestar import Litestar
from litestar.testing import AsyncTestClient

from projections.engine.registry import PROJECTIONS
from projections.replays.verify import verify_next_shard
from services.auth.accounts import create_user
from services.workers.jobs import Context, run_replays
from tests.integration.projections.test_replay import CORRUPT_TALLY, cast_votes
from tests.support.stage import catch_up

Client = AsyncTestClient[Litestar]


@pytest.fixture
async def editor(client: Client, pool: Pool[Record]) -> Client:
    user = await create_user(pool, "ed", "editor")
    logged_in = await client.post("/v1/session", json={"name": "ed", "password": user.password})
    assert logged_in.status_code < 300, logged_in.text
    return client


async def start(editor: Client, projection: str = "tally", **more: object) -> httpx.Response:
    return await editor.post("/v1/replays", json={"projection": projection} | more)


async def work(pool: Pool[Record]) -> None:
    await run_replays(Context(pool=pool, wakeups=None))  # type: ignore[typeddict-item]


async def test_a_worker_runs_the_replay_that_an_editor_started(editor: Client, pool: Pool[Record]) -> None:
    await cast_votes(pool, 40)
    started = await start(editor)
    assert (started.status_code, started.json()["state"]) == (202, "running")
    address = started.headers["location"]
    await work(pool)
    done = (await editor.get(address)).json()
    assert (done["state"], done["equal"], done["drift"], done["diff"]) == ("cut-over", True, 0, [])
    assert done["digest"] == done["replaces"]
    assert (await editor.get("/v1/replays")).json()["items"] == [done]
    back = await editor.post(f"{address}/roll-back")
    assert back.json()["state"] == "rolled-back"


async def test_a_cut_over_with_differences_requires_a_reason(editor: Client, pool: Pool[Record]) -> None:
    await cast_votes(pool, 40)
    await catch_up(pool)
    await pool.execute(CORRUPT_TALLY)
    address = (await start(editor)).headers["location"]
    await work(pool)
    assert (await editor.get(address)).json()["equal"] is False
    rejected = await editor.post(f"{address}/cut-over", json={})
    assert (rejected.status_code, rejected.json()["type"]) == (409, "urn:shiplog:not-now")
    for reason in ("", "a\nb", "x" * 201, 7):
        assert (await editor.post(f"{address}/cut-over", json={"reason": reason})).status_code == 400
    done = await editor.post(f"{address}/cut-over", json={"reason": "a row was changed by hand"})
    assert (done.json()["state"], done.json()["reason"]) == ("cut-over", "a row was changed by hand")


async def test_a_replay_is_paused_resumed_and_cancelled(editor: Client) -> None:
    address = (await start(editor, hold=True)).headers["location"]
    assert (await editor.post(f"{address}/pause")).json()["state"] == "paused"
    assert (await editor.post(f"{address}/pause")).status_code == 409
    assert (await editor.post(f"{address}/resume")).json()["state"] == "running"
    assert (await start(editor)).json()["type"] == "urn:shiplog:under-way"
    assert (await editor.post(f"{address}/cancel")).json()["state"] == "cancelled"
    assert (await editor.post(f"{address}/resume")).status_code == 409


@pytest.mark.parametrize(
    ("projection", "status"),
    [
        ("my_votes", 409),
        ("nothing", 404),
        ("tally__next", 404),
        ("Tally", 400),
        ("tally; drop", 400),
        ("", 400),
    ],
)
async def test_a_projection_that_cannot_be_rebuilt_is_rejected(
    editor: Client, projection: str, status: int
) -> None:
    assert (await start(editor, projection)).status_code == status


async def test_an_unknown_replay_is_not_found(editor: Client) -> None:
    for action in ("pause", "resume", "cancel", "roll-back"):
        assert (await editor.post(f"/v1/replays/{uuid4()}/{action}")).status_code == 404
    assert (await editor.get(f"/v1/replays/{uuid4()}")).status_code == 404
    assert (await editor.get("/v1/replays/seven")).status_code == 404


async def test_replays_are_for_editors_only(client: Client, catalogue_key: dict[str, str]) -> None:
    assert (await start(client)).status_code == 401
    with_key = await client.post("/v1/replays", json={"projection": "tally"}, headers=catalogue_key)
    assert with_key.status_code == 403


async def test_drift_is_unknown_then_equal_then_found(editor: Client, pool: Pool[Record]) -> None:
    assert (await editor.get("/v1/health/drift")).json()["status"] == "unknown"
    await cast_votes(pool, 20)
    await catch_up(pool)
    for _ in range(len(PROJECTIONS) * 4):
        await verify_next_shard(pool, PROJECTIONS)
    assert (await editor.get("/v1/health/drift")).json()["status"] == "equal"
    await pool.execute(CORRUPT_TALLY)
    recounted = {each["projection"]: each for each in (await editor.post("/v1/verify")).json()["items"]}
    assert recounted["tally"]["drift"] > 0
    assert recounted["hourly_tally"]["drift"] == 0
    for _ in range(len(PROJECTIONS) * 4):
        await verify_next_shard(pool, PROJECTIONS)
    drift = (await editor.get("/v1/health/drift")).json()
    assert drift["status"] == "drifting"
    assert {each["projection"] for each in drift["read_models"] if each["drift"]} == {"tally"}
    assert 'shiplog_drift_rows{read_model="tally"}' in (await editor.get("/metrics")).text
