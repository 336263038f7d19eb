"""Readiness: what keeps a process from being ready although Postgres answers, and checks by plain HTTP/1.0."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest
from asyncpg import Connection, Pool, Record

from eventstore import appender
from projections.engine.lag import Lag, read_lag
from services.api.http import readiness
from services.api.http.readiness import STUCK_SECONDS, ReadModelProgress
from tests.support.stage import Stage, list_tool


def lag(folded: int, events: int) -> list[Lag]:
    return [Lag("flips", events, 0.0, folded)]


def test_a_read_model_is_stuck_when_it_stays_behind_without_moving() -> None:
    progress = ReadModelProgress()
    progress.observe(lag(10, 5), now=0)
    progress.observe(lag(10, 7), now=20)
    assert progress.stuck(lag(10, 7), set(), now=STUCK_SECONDS) == []
    (message,) = progress.stuck(lag(10, 7), set(), now=STUCK_SECONDS + 1)
    assert message == "flips has not moved for 31 s, 7 events behind"
    assert progress.stuck(lag(10, 7), {"flips"}, now=STUCK_SECONDS + 1) == []


def test_a_read_model_that_moves_or_has_nothing_to_fold_is_not_stuck() -> None:
    progress = ReadModelProgress()
    progress.observe(lag(10, 5), now=0)
    progress.observe(lag(11, 5), now=20)
    assert progress.stuck(lag(11, 5), set(), now=45) == []
    progress.observe(lag(16, 0), now=100)
    assert progress.stuck(lag(16, 3), set(), now=120) == []


async def test_not_ready_while_flips_stand_still(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker runs here, so they stay where they are."""
    monkeypatch.setattr(readiness, "STUCK_SECONDS", -1.0)
    await list_tool(stage.client, stage.catalogue_key, "stalled")
    await stage.client.get("/readyz")
    answer = await stage.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:shiplog:not-ready"
    assert "flips has not moved for" in answer.json()["detail"]


FILL_DISK = """
CREATE FUNCTION fill_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON standings EXECUTE FUNCTION fill_disk()
"""
FREE_DISK = "DROP FUNCTION IF EXISTS fill_disk CASCADE"


@pytest.fixture
async def owner(stage: Stage) -> AsyncIterator[Connection[Record]]:
    """Every append fails as it does when Postgres cannot extend a file, until the function is dropped."""
    owner = await asyncpg.connect(stage.settings.database_url)
    await owner.execute(FILL_DISK)
    yield owner
    await owner.execute(FREE_DISK)
    await owner.close()


async def vote(stage: Stage, voter: str) -> int:
    body = {"tool": "quill", "choice": "ship", "voter": voter}
    return (await stage.client.post("/v1/votes", json=body, headers=stage.vote_key)).status_code


async def test_not_ready_on_a_full_disk_until_a_vote_is_stored(
    stage: Stage, owner: Connection[Record]
) -> None:
    assert await vote(stage, "someone") == 503
    answer = await stage.client.get("/readyz")
    assert answer.status_code == 503
    assert "No space left on device. Make room" in answer.json()["detail"]
    await owner.execute(FREE_DISK)
    assert await vote(stage, "someone") == 200
    assert (await stage.client.get("/readyz")).status_code == 200


async def test_not_ready_on_a_full_disk_until_it_is_time_to_try_again(
    stage: Stage, owner: Connection[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await vote(stage, "another") == 503
    assert (await stage.client.get("/readyz")).status_code == 503
    monkeypatch.setattr(appender, "STORAGE_RETRY_SECONDS", 0.0)
    assert (await stage.client.get("/readyz")).status_code == 200


async def test_versions_beside_a_read_model_are_none_themselves(module_pool: Pool[Record]) -> None:
    await module_pool.execute(
        "INSERT INTO checkpoints (projection, shard, position) SELECT 'tally__last', shard, 0 FROM heads"
    )
    names = {each.projection for each in await read_lag(module_pool)}
    assert "tally" in names
    assert not any("__" in name for name in names)


@pytest.mark.xdist_group("instance")
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_load_balancer_checks_by_http_1_0(site: str, path: str, method: str) -> None:
    """Without a Host, and until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", urlsplit(site).port or 80), timeout=20) as connection:
        connection.sendall(f"{method} {path} HTTP/1.0\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 200 " in head.partition(b"\r\n")[0] + b" "
    assert (body == b"") == (method == "HEAD")
