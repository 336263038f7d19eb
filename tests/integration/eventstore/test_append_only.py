"""The log is append-only for the database role that Shiplog uses."""

from __future__ import annotations

import asyncpg
import pytest
from asyncpg import Pool, Record


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET choice = 'skip'",
        "DELETE FROM events",
        "TRUNCATE events",
        "TRUNCATE events_0",
        "DELETE FROM events_0",
        "DROP TABLE events",
        "DELETE FROM heads",
        "DELETE FROM standings",
        "ALTER TABLE events ADD x int",
    ],
)
async def test_history_cannot_be_rewritten(pool: Pool[Record], statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(statement)


async def test_the_pool_does_not_connect_as_the_owner(pool: Pool[Record]) -> None:
    assert await pool.fetchval("SELECT current_user") == "shiplog_app"
