"""Migrating is safe to run by several at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.cli.commands.migrate import migrate_database
from services.embedded.postgres import Postgres
from services.settings import Settings
from tests.integration.conftest import fresh_database


@pytest.fixture
async def empty(postgres: Postgres) -> AsyncIterator[Settings]:
    async with fresh_database(postgres, "template0", "empty") as settings:
        yield settings


async def test_several_at_once_apply_each_file_once(empty: Settings) -> None:
    done = await asyncio.gather(*(migrate_database(empty, 3) for _ in range(4)))
    applied = [name for each in done for name in each.applied]
    assert sorted(applied) == sorted(set(applied))
    assert "0001 log" in applied
    assert (await migrate_database(empty)).applied == []
