"""The peers' PostgreSQL, set up like Shiplog's, and the check that they stored what they acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from msgspec import Struct

from benchmarks.measurement import Measurement
from services.embedded.postgres import Postgres

SECONDS = 120
CREATE_DATABASE = "CREATE DATABASE {}"


class VotesLost(Exception):
    """The number of votes a peer stored is not the number it acknowledged."""


class RunResult(Struct, frozen=True):
    """The result of a run. `acknowledged` includes the votes of the warm-up."""

    acknowledged: int
    rate: float
    p99_ms: float | None = None


@contextmanager
def open_postgres(folder: Path) -> Iterator[Postgres]:
    """The same program, settings and durability as for Shiplog."""
    postgres = Postgres.start(folder)
    try:
        yield postgres
    finally:
        postgres.stop("immediate")


async def new_database(postgres: Postgres, name: str) -> str:
    """Returns its URL."""
    conn = await asyncpg.connect(postgres.url())
    try:
        await conn.execute(CREATE_DATABASE.format(name))
    finally:
        await conn.close()
    return postgres.url(name)


async def check_stored(url: str, counts: Sequence[str], run: Awaitable[RunResult]) -> Measurement:
    """Await `run`, at most SECONDS. Raises VotesLost unless every count in the database grew by the acknowledged votes."""
    before = await _read(url, counts)
    async with asyncio.timeout(SECONDS):
        result = await run
    for count, old, new in zip(counts, before, await _read(url, counts), strict=True):
        if new - old != result.acknowledged:
            raise VotesLost(f"{result.acknowledged} votes were acknowledged, {new - old} stored by: {count}")
    return Measurement(result.rate, result.p99_ms)


async def _read(url: str, counts: Sequence[str]) -> list[int]:
    conn = await asyncpg.connect(url)
    try:
        return [await conn.fetchval(count) for count in counts]
    finally:
        await conn.close()
