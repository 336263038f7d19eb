"""Alone: at most one process at a time does a piece of work that takes long. Whoever dies lets go of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asyncpg import Pool, Record

TRY = "SELECT pg_try_advisory_lock(hashtext($1), hashtext($2))"
LET_GO = "SELECT pg_advisory_unlock(hashtext($1), hashtext($2))"


@asynccontextmanager
async def exclusively(pool: Pool[Record], work: str, id: str) -> AsyncIterator[bool]:
    """False where another has it in hand."""
    async with pool.acquire() as conn:
        mine = bool(await conn.fetchval(TRY, work, id))
        try:
            yield mine
        finally:
            if mine and not conn.is_closed():
                await conn.execute(LET_GO, work, id)
