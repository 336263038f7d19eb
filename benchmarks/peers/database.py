"""The peers' PostgreSQL, set up as ours is, and the demand that they stored what they acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from msgspec import Struct

from benchmarks.measured import Measured
from services.embedded.postgres import Postgres

SECONDS = 120
CREATE_DATABASE = "CREATE DATABASE {}"


class Lost(Exception):
    """A peer stored other than it acknowledged: its rate means nothing."""


class Ran(Struct, frozen=True):
    """What a run came to; `acknowledged` counts the votes of the warm-up as well."""

    acknowledged: int
    rate: float
    p99_ms: float | None = None


@contextmanager
def open_postgres(folder: Path) -> Iterator[Postgres]:
    """Same program, same settings, same durability as under Shiplog."""
    postgres = Postgres.start(folder)
    try:
        yield postgres
    finally:
        postgres.stop("immediate")


async def new_database(postgres: Postgres, name: str) -> str:
    """Its URL."""
    conn = await asyncpg.connect(postgres.url())
    try:
        await conn.execute(CREATE_DATABASE.format(name))
    finally:
        await conn.close()
    return postgres.url(name)


async def stored(url: str, counts: Sequence[str], run: Awaitable[Ran]) -> Measured:
    """Awaits `run`, at most SECONDS; raises Lost unless each of the counts in the database grew by what was acknowledged."""
    before = await _read(url, counts)
    async with asyncio.timeout(SECONDS):
        ran = await run
    for count, one, other in zip(counts, before, await _read(url, counts), strict=True):
        if other - one != ran.acknowledged:
            raise Lost(f"{ran.acknowledged} votes were acknowledged, {other - one} stored by: {count}")
    return Measured(ran.rate, ran.p99_ms)


async def _read(url: str, counts: Sequence[str]) -> list[int]:
    conn = await asyncpg.connect(url)
    try:
        return [await conn.fetchval(count) for count in counts]
    finally:
        await conn.close()
