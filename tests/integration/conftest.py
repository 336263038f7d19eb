"""A stage: an app and a log that the many small tests of a module share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient

from services.api.app import create_app
from services.cli.commands.keys import create_key
from services.embedded.postgres import Postgres
from services.resources import open_pool
from services.settings import Settings
from tests.support.instances import fresh_database
from tests.support.stage import Headers, Log, Stage, list_tool, seat_panel


@pytest.fixture(scope="module")
async def stage(postgres: Postgres, template: str) -> AsyncIterator[Stage]:
    """A log with the tool `quill` and the reviewer `builder`, shared by a module."""
    async with fresh_database(postgres, template, "stage") as settings, stage_on(settings) as stage:
        await list_tool(stage.client, stage.catalogue_key)
        await seat_panel(stage.log, "builder")
        yield stage


@asynccontextmanager
async def stage_on(settings: Settings) -> AsyncIterator[Stage]:
    """A running app on a log, with keys."""
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
    """The tool `quill`, on the test's own log."""
    await list_tool(client, catalogue_key)


@asynccontextmanager
async def _running(app: Litestar) -> AsyncIterator[None]:
    """The app's lifespan, in its own task: it must exit in the task that entered it."""
    started, stop = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        async with app.lifespan():
            started.set()
            await stop.wait()

    running, waiting = asyncio.create_task(run()), asyncio.create_task(started.wait())
    await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    yield
    stop.set()
    await running


async def _key(settings: Settings, log: Log, scope: str) -> Headers:
    new_key = await create_key(settings, log, scope, (scope,))  # type: ignore[arg-type]
    return {"Authorization": f"Bearer {new_key.key}"}
