"""FastAPI and SQLAlchemy: a row per vote and a counter per tool, in one transaction per request."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks.client import Load, drive, post
from benchmarks.measurement import Measurement
from benchmarks.peers.database import RunResult, check_stored, new_database
from benchmarks.peers.packages import PYTHON, python, version
from benchmarks.peers.peer import Peer, Setting
from benchmarks.peers.processes import output_of, serving_on
from benchmarks.servers import free_port
from benchmarks.votes import uniform
from services.embedded.postgres import Postgres

CONNECTIONS = 64
WARM_UP = 200
APP = "fastapi_votes:app"
GRANIAN = ("granian", "--interface", "asgi", "--loop", "uvloop", "--no-ws", "--log-level", "error")
UVICORN = ("uvicorn", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "error")
COUNTS = ("SELECT count(*) FROM votes", "SELECT coalesce(sum(ship + skip), 0)::bigint FROM counters")


async def _prepare(postgres: Postgres) -> list[Setting]:
    interpreter = python()
    url = await new_database(postgres, "fastapi")
    await output_of([interpreter, "fastapi_votes.py"], PYTHON, {"DATABASE_URL": url})
    versions = ", ".join(version(name) for name in ("fastapi", "sqlalchemy", "asyncpg"))
    return [
        Setting(
            f"{versions}; pool of 20; {version(server[0])}, {workers} workers",
            partial(_run, url, [interpreter, "-m", *server, "--workers", str(workers)]),
        )
        for server in (GRANIAN, UVICORN)
        for workers in (1, 2)
    ]


async def _run(url: str, server: Sequence[str], votes: int) -> Measurement:
    port = free_port()
    async with serving_on([*server, "--port", str(port), APP], port, PYTHON, {"DATABASE_URL": url}):
        return await check_stored(url, COUNTS, _load(port, votes))


async def _load(port: int, votes: int) -> RunResult:
    await _drive(port, WARM_UP)
    load = await _drive(port, votes)
    return RunResult(WARM_UP + votes, load.rate, load.percentile(0.99) * 1000)


async def _drive(port: int, votes: int) -> Load:
    headers = ["Content-Type: application/json"]
    load = await drive(port, [post("/votes", uniform(), headers) for _ in range(votes)], CONNECTIONS)
    assert load.statuses.keys() == {200}, load.statuses
    return load


PEER = Peer("peer: FastAPI and SQLAlchemy, one vote per request", 1_500, _prepare)
