"""A stage for modules whose many small cases share one log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import asyncpg
import httpx
import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient

from services.api.app import create_app
from services.cli.commands.keys import create_key
from services.embedded.postgres import Postgres
from services.resources import open_pool
from services.settings import Settings
from tests.support.instances import UNLIMITED
from tests.support.stage import Headers, Log, Stage, list_tool, seat_panel

_SECRET = b"the secret of the shared log, 32+"
_numbers = count(1)


@asynccontextmanager
async def fresh_database(postgres: Postgres, template: str, purpose: str) -> AsyncIterator[Settings]:
    """A new, empty log, until the block ends."""
    name = f"{purpose}_{next(_numbers)}"
    owner = await asyncpg.connect(postgres.url("postgres"))
    await owner.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield Settings(database_url=postgres.url(name), secret=_SECRET, **UNLIMITED)
    await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await owner.close()


@pytest.fixture(scope="module")
async def stage(postgres: Postgres, template: str) -> AsyncIterator[Stage]:
    """A log with the tool `quill` and the reviewer `builder`, shared by a module."""
    async with fresh_database(postgres, template, "stage") as settings, stage_on(settings) as stage:
        await list_tool(stage.client, stage.catalogue_key)
        await seat_panel(stage.log, "builder")
        yield stage


@asynccontextmanager
async def stage_on(settings: Settings) -> AsyncIterator[Stage]:
    """An app on a log, and keys to it."""
    app = create_app(settings)
    async with (
        await open_pool(settings, size=4) as log,
        _running(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shiplog.test") as client,
    ):
        keys = [await _key(settings, log, scope) for scope in ("votes:write", "catalogue:write", "read")]
        yield Stage(client, log, settings, *keys)


@pytest.fixture
async def quill(client: AsyncTestClient[Litestar], catalogue_key: dict[str, str]) -> None:
    """The tool `quill`, on a log of the test's own."""
    await list_tool(client, catalogue_key)


@asynccontextmanager
async def _running(app: Litestar) -> AsyncIterator[None]:
    """The app's lifespan, in a task of its own: it must end in the task in which it began."""
    begun, over = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            begun.set()
            await over.wait()

    living, waiting = asyncio.create_task(live()), asyncio.create_task(begun.wait())
    await asyncio.wait([living, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    yield
    over.set()
    await living


async def _key(settings: Settings, log: Log, scope: str) -> Headers:
    made = await create_key(settings, log, scope, (scope,))  # type: ignore[arg-type]
    return {"Authorization": f"Bearer {made.key}"}
