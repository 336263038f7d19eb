"""Fixtures for every test: embedded Postgres and Valkey, a database per test, an instance per run."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import uvloop
from asyncpg import Pool, Record
from litestar import Litestar
from litestar.testing import AsyncTestClient

from services.api.app import create_app
from services.cli.commands.keys import create_key
from services.embedded.postgres import Postgres
from services.embedded.valkey import Valkey
from services.resources import open_pool
from services.settings import Settings
from tests.support.instances import (
    Instance,
    copy_cluster,
    create_template,
    fresh_database,
    open_path_to,
    reach_loopback_directly,
    remove_cluster,
    start_instance,
)

# More than what three test processes need, each with its servers and an instance.
MEMORY, FREE_BYTES_MIN = Path("/dev/shm"), 2 * 1024**3


def pytest_configure() -> None:
    """Keep tmp_path in memory if there is room, unless PYTEST_DEBUG_TEMPROOT is set.

    Hundreds of databases are created and dropped. On a disk their files are written before they are deleted, and ext4
    skips all inodes freed in the last minutes: a third of the CPU time went to the kernel.
    """
    if _fits(MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    reach_loopback_directly()


def _fits(folder: Path) -> bool:
    """Needs exec permission too, since tests run programs there. In a container it often has only 64 MB."""
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        return False
    return shutil.disk_usage(folder).free >= FREE_BYTES_MIN and not os.statvfs(folder).f_flag & os.ST_NOEXEC


def pytest_unconfigure() -> None:
    remove_cluster()


def pytest_collection_finish() -> None:
    """Imported modules live as long as the process: keep the garbage collector from scanning them."""
    gc.collect()
    gc.freeze()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], object]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    # Every test has its own database: dropping one scans all buffers, and the WAL of the copies fills the memory.
    small = {"shared_buffers": "128MB", "max_wal_size": "256MB"}
    data = tmp_path_factory.mktemp("postgres")
    open_path_to(data)
    copy_cluster(data)
    server = Postgres.start(data, settings=small)
    yield server
    server.stop("immediate")


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey.start(tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
async def template(postgres: Postgres) -> str:
    """A migrated database. A copy takes about 50 ms."""
    await create_template(postgres, "template_shiplog", shards=3)
    return "template_shiplog"


@pytest.fixture
async def settings(postgres: Postgres, template: str) -> AsyncIterator[Settings]:
    """A new, empty log with three voter shards, without Redis and without rate limits."""
    async with fresh_database(postgres, template) as settings:
        yield settings


@pytest.fixture(scope="module")
async def module_pool(postgres: Postgres, template: str) -> AsyncIterator[Pool[Record]]:
    """A log shared by the examples of one module, each with its own actors and tools."""
    async with fresh_database(postgres, template) as settings, await open_pool(settings) as pool:
        yield pool


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[Pool[Record]]:
    async with await open_pool(settings) as pool:
        yield pool


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[AsyncTestClient[Litestar]]:
    async with AsyncTestClient(create_app(settings), base_url="http://shiplog.test") as client:
        yield client


@pytest.fixture
async def vote_key(settings: Settings, pool: Pool[Record]) -> dict[str, str]:
    """Headers with a key that may vote for users."""
    new_key = await create_key(settings, pool, "test votes", ("votes:write",))
    return {"Authorization": f"Bearer {new_key.key}"}


@pytest.fixture
async def catalogue_key(settings: Settings, pool: Pool[Record]) -> dict[str, str]:
    """Headers with a key that may edit the catalogue."""
    new_key = await create_key(settings, pool, "test catalogue", ("catalogue:write",))
    return {"Authorization": f"Bearer {new_key.key}"}


@pytest.fixture
async def read_key(settings: Settings, pool: Pool[Record]) -> dict[str, str]:
    """Headers with a key that may read the metrics."""
    new_key = await create_key(settings, pool, "test read", ("read",))
    return {"Authorization": f"Bearer {new_key.key}"}


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A running `shiplog up` with the sample catalogue."""
    with start_instance(tmp_path_factory.mktemp("instance") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def site(instance: Instance) -> str:
    return instance.url


@pytest.fixture(scope="session")
def editor_key(instance: Instance) -> str:
    return instance.create_key("catalogue:write")
