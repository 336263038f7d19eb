"""Digests of read models do not depend on batch size, number of processes, hash seed, time zone or locale."""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import product
from random import Random
from uuid import UUID

import asyncpg
import pytest

from eventstore.casts import PendingCast, append_casts
from eventstore.ids import mint
from projections.engine.registry import PROJECTIONS
from projections.replays.verify import verify_all
from services.embedded.postgres import Postgres
from services.resources import open_pool
from services.settings import Settings
from tests.support.sealed_history import write_history
from tests.support.stage import Log

pytestmark = pytest.mark.slow

VOTES = 30_000
BATCHES, PROCESSES = (137, 4_096, 1_000_000), (1, 3)
ENVIRONMENTS = (
    {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C"},
    {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8"},
    {"PYTHONHASHSEED": "2", "TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8"},
    {"PYTHONHASHSEED": "random", "TZ": "Asia/Kathmandu", "LC_ALL": "de_DE.UTF-8"},
)


@pytest.fixture
async def written(postgres: Postgres, settings: Settings, pool: Log) -> str:
    """The name of a database with a log that is not folded yet, to be copied."""
    await write_history(pool, 11)
    random = Random(11)
    actors = [UUID(int=random.getrandbits(128)) for _ in range(2_000)]
    for shard in (1, 2, 3):
        for _ in range(VOTES // 3 // 500):
            casts = [_cast(random, actors) for _ in range(500)]
            async with pool.acquire() as conn:
                await append_casts(conn, shard, casts)  # type: ignore[arg-type]
    await pool.close()
    return settings.database_url.rpartition("/")[2]


def _cast(random: Random, actors: list[UUID]) -> PendingCast:
    choice = random.choice(["ship", "skip", None])
    return PendingCast("v", random.choice(actors), random.randint(1, 40), choice, mint(), "test")


async def test_24_ways_to_fold_give_the_same_digests(postgres: Postgres, written: str) -> None:
    ways = list(product(BATCHES, PROCESSES, ENVIRONMENTS))
    digest_sets = {
        tuple(
            sorted((await _fold(postgres, written, f"same_{number}", batch, processes, environment)).items())
        )
        for number, (batch, processes, environment) in enumerate(ways)
    }
    print(f"\n{len(ways)} ways, {len(digest_sets)} set of digests of {len(PROJECTIONS)} read models")
    assert len(ways) == 24
    assert len(digest_sets) == 1


async def _fold(
    postgres: Postgres, written: str, name: str, batch: int, processes: int, environment: dict[str, str]
) -> dict[str, str | None]:
    """The digest of each read model, after folding a copy of the log in this way."""
    owner = await asyncpg.connect(postgres.url("postgres"))
    await owner.execute(f"CREATE DATABASE {name} TEMPLATE {written}")
    try:
        url = postgres.url(name)
        folding = [
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.support.fold_all",
                url,
                str(batch),
                env={**os.environ, **environment},
            )
            for _ in range(processes)
        ]
        assert [await process.wait() for process in folding] == [0] * processes
        async with await open_pool(Settings(database_url=url, secret=b"x" * 32), size=2) as pool:
            verified = await verify_all(pool, PROJECTIONS)
        assert not any(each.drift for each in verified)
        return {each.projection: each.digest for each in verified}
    finally:
        await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await owner.close()
