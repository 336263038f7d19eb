"""A lock for long work, held by at most one process. Postgres releases it when the connection ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asyncpg import Pool, Record

TRY_LOCK = "SELECT pg_try_advisory_lock(hashtext($1), hashtext($2))"
RELEASE_LOCK = "SELECT pg_advisory_unlock(hashtext($1), hashtext($2))"


@asynccontextmanager
async def exclusively(pool: Pool[Record], work: str, id: str) -> AsyncIterator[bool]:
    """Yields whether this process got the lock on ``work`` and ``id``; it does not wait for it."""
    async with pool.acquire() as conn:
        locked = bool(await conn.fetchval(TRY_LOCK, work, id))
        try:
            yield locked
        finally:
            if locked and not conn.is_closed():
                await conn.execute(RELEASE_LOCK, work, id)
