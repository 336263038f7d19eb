"""The machine's limits: ASGI apps with a fixed answer, and COPY into a table with the keys of events."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
from litestar import Litestar, asgi, post
from litestar.types import Receive, Scope, Send
from uuid_utils.compat import uuid7

_ANSWER = b'{"outcome":"counted"}'
_HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(_ANSWER)).encode())],
}

_NOW = datetime.now(UTC)
_COLUMNS = (
    "position",
    "recorded_at",
    "actor",
    "id",
    "tool",
    "shard",
    "type",
    "choice",
    "replaced",
    "origin",
    "data",
)
CREATE_EQUAL_TABLE = "CREATE TABLE equal_events (LIKE events INCLUDING ALL)"


async def bare(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    await _answer(receive, send)


@asgi("/v1/votes", copy_scope=False)
async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
    await _answer(receive, send)


@post("/plain", status_code=200)
async def plain(data: dict[str, str]) -> dict[str, str]:
    return {"outcome": "counted"}


def litestar() -> Litestar:
    return Litestar([mounted, plain])


async def _answer(receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send(_HEAD)
    await send({"type": "http.response.body", "body": _ANSWER})


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def copy_rate(database_url: str, rows: int, batch: int) -> float:
    """Rows a second over one connection, one commit per batch, into a table like ``events``, with its keys."""
    conn = await asyncpg.connect(database_url)
    await conn.execute(f"DROP TABLE IF EXISTS equal_events; {CREATE_EQUAL_TABLE}")
    records = [
        (number, _NOW, uuid4(), uuid7(), 1, 1, "VoteCast", "ship", None, "k1", None)
        for number in range(1, rows + 1)
    ]
    started = time.perf_counter()
    for start in range(0, rows, batch):
        await conn.copy_records_to_table(
            "equal_events", records=records[start : start + batch], columns=_COLUMNS
        )
    seconds = time.perf_counter() - started
    await conn.execute("DROP TABLE equal_events")
    await conn.close()
    return rows / seconds
