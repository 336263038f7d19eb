"""message-db: its function write_message, with a stream per ballot."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import asyncpg
from asyncpg import Connection, Record
from uuid_utils.compat import uuid7

from benchmarks.measurement import Measurement
from benchmarks.peers.database import RunResult, check_stored, new_database
from benchmarks.peers.packages import node, version
from benchmarks.peers.peer import Peer, Setting
from benchmarks.votes import uniform
from services.embedded.postgres import Postgres

PACKAGE = "@eventide/message-db"
# The order of its install.sh, without the extension pgcrypto, which had gen_random_uuid() before PostgreSQL 13.
ORDER = ("roles", "schema", "tables", "types", "functions", "indexes", "views", "privileges")
WRITE = "SELECT message_store.write_message($1, $2, 'VoteCast', $3::text::jsonb)"
COUNTS = ("SELECT count(*) FROM message_store.messages",)
WARM_UP = 200


async def _prepare(postgres: Postgres) -> list[Setting]:
    """Settings with one category, whose writers wait for each other, and with one category per tool."""
    home = node() / "node_modules" / PACKAGE / "database"
    url = await new_database(postgres, "message_store")
    await _install(url, home)
    return [
        Setting(
            f"{version(PACKAGE)}; {connections} connections, {layout}",
            partial(_run, url, connections, category),
        )
        for layout, category in (("one category", "ballot"), ("one category per tool", "ballot:{tool}"))
        for connections in (4, 16)
    ]


async def _install(url: str, home: Path) -> None:
    conn = await asyncpg.connect(url)
    try:
        for folder in ORDER:
            for path in sorted((home / folder).glob("*.sql")):
                await conn.execute(path.read_text())
    finally:
        await conn.close()


async def _run(url: str, connections: int, category: str, votes: int) -> Measurement:
    path = {"search_path": "message_store, public"}
    conns = [await asyncpg.connect(url, server_settings=path) for _ in range(connections)]
    try:
        return await check_stored(url, COUNTS, _write_all(conns, category, votes))
    finally:
        for conn in conns:
            await conn.close()


async def _write_all(conns: Sequence[Connection[Record]], category: str, votes: int) -> RunResult:
    await _write(conns, iter([_message(category) for _ in range(WARM_UP)]))
    messages = iter([_message(category) for _ in range(votes)])
    started = time.perf_counter()
    latencies = await _write(conns, messages)
    rate = votes / (time.perf_counter() - started)
    return RunResult(WARM_UP + votes, rate, latencies[int(votes * 0.99)] * 1000)


async def _write(
    conns: Sequence[Connection[Record]], messages: Iterator[tuple[str, str, str]]
) -> list[float]:
    """Seconds per call, sorted."""
    latencies = await asyncio.gather(*(_writer(conn, messages) for conn in conns))
    return sorted(latency for each in latencies for latency in each)


async def _writer(conn: Connection[Record], messages: Iterator[tuple[str, str, str]]) -> list[float]:
    latencies = []
    write = await conn.prepare(WRITE)
    for message in messages:
        started = time.perf_counter()
        await write.fetchval(*message)
        latencies.append(time.perf_counter() - started)
    return latencies


def _message(category: str) -> tuple[str, str, str]:
    """Id, stream name and data."""
    cast = json.loads(uniform())
    stream = f"{category.format(**cast)}-{cast['voter'].replace(' ', '')}"
    return str(uuid7()), stream, json.dumps({"tool": cast["tool"], "choice": cast["choice"]})


PEER = Peer("peer: message-db, one message per call", 5_000, _prepare)
