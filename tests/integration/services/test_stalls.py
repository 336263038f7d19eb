"""A worker's statement whose answer is lost is aborted, and the next one is answered."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import msgspec
import pytest
from asyncpg import PostgresConnectionError

from services.resources import open_pool
from services.settings import Settings
from services.workers import stalls
from services.workers.stalls import abort_stalled_statements
from tests.support.tcp_proxy import Network, proxy_to


async def test_a_lost_statement_is_aborted(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stalls, "_BETWEEN_SECONDS", 0.0)
    with proxy_to(urlsplit(settings.database_url).port or 0) as proxy:
        through = msgspec.structs.replace(settings, database_url=proxy.url(settings.database_url))
        async with await open_pool(through) as pool, await open_pool(through, size=1, seconds=0.5) as probes:
            assert await pool.fetchval("SELECT 1") == 1
            proxy.network = Network.BLACK_HOLE
            watching = asyncio.create_task(abort_stalled_statements(pool, probes))
            with pytest.raises(PostgresConnectionError):
                await pool.fetchval("SELECT 2")
            watching.cancel()
            proxy.network = Network.GOOD
            assert await pool.fetchval("SELECT 3") == 3
