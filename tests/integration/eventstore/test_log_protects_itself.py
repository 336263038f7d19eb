"""The log is append-only for the role that Shiplog works under."""

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


async def test_the_role_is_not_the_owner(pool: Pool[Record]) -> None:
    assert await pool.fetchval("SELECT current_user") == "shiplog_app"
