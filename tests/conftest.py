"""Servers of our own for every test run: Postgres and Valkey from the wheels, a database a test, an instance a run."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import asyncpg
import pytest
import uvloop
from asyncpg import Pool, Record
from litestar import Litestar
from litestar.testing import AsyncTestClient

from services.api.app import create_app
from services.cli.commands.keys import create_key
from services.cli.commands.migrate import migrate_database
from services.embedded.postgres import Postgres
from services.embedded.valkey import Valkey
from services.resources import open_pool
from services.settings import Settings
from tests.support.instances import UNLIMITED, Instance, start_instance

SECRET = b"a secret of thirty-two characters"
# More than twice what two runners, each with an instance beside its servers, hold at once.
MEMORY, ROOM = Path("/dev/shm"), 2 * 1024**3


def pytest_configure() -> None:
    """Everything below tmp_path is kept in memory where that is possible, unless the variable says where.

    Hundreds of databases are made and dropped. On a disk the files of each are written out before they go, and ext4
    looks for a free inode past all that were freed in the last minutes: a third of the CPU went to the kernel.
    """
    if _fits(MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def _fits(folder: Path) -> bool:
    """Programs are run there too, and a container has but 64 MB of it."""
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        return False
    return shutil.disk_usage(folder).free >= ROOM and not os.statvfs(folder).f_flag & os.ST_NOEXEC


def pytest_collection_finish() -> None:
    """What was imported stays: the collector need not walk through it again and again."""
    gc.collect()
    gc.freeze()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], object]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    # Every test has a database of its own, and dropping one looks through all buffers.
    # The log of so many copies would fill the memory that they are in.
    small = {"shared_buffers": "128MB", "max_wal_size": "256MB"}
    server = Postgres.start(tmp_path_factory.mktemp("postgres"), settings=small)
    yield server
    server.stop("immediate")


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey.start(tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
async def template(postgres: Postgres) -> str:
    """A migrated database, to be copied in some 50 ms."""
    owner = await asyncpg.connect(postgres.url("postgres"))
    await owner.execute("CREATE DATABASE template_shiplog")
    await owner.close()
    await migrate_database(Settings(database_url=postgres.url("template_shiplog"), secret=SECRET), shards=3)
    return "template_shiplog"


_numbers = count(1)


@asynccontextmanager
async def _new_log(postgres: Postgres, template: str) -> AsyncIterator[Settings]:
    name = f"test_{next(_numbers)}"
    owner = await asyncpg.connect(postgres.url("postgres"))
    await owner.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield Settings(database_url=postgres.url(name), secret=SECRET, **UNLIMITED)
    await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await owner.close()


@pytest.fixture
async def settings(postgres: Postgres, template: str) -> AsyncIterator[Settings]:
    """A new, empty log with three shards of people; no Redis, and no limits."""
    async with _new_log(postgres, template) as settings:
        yield settings


@pytest.fixture(scope="module")
async def module_pool(postgres: Postgres, template: str) -> AsyncIterator[Pool[Record]]:
    """A log shared by the examples of one module, each with actors and tools of its own."""
    async with _new_log(postgres, template) as settings, await open_pool(settings) as pool:
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
    """Headers of a program that may vote for its users."""
    made = await create_key(settings, pool, "test votes", ("votes:write",))
    return {"Authorization": f"Bearer {made.key}"}


@pytest.fixture
async def catalogue_key(settings: Settings, pool: Pool[Record]) -> dict[str, str]:
    """Headers of a program that may edit the catalogue."""
    made = await create_key(settings, pool, "test catalogue", ("catalogue:write",))
    return {"Authorization": f"Bearer {made.key}"}


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A whole running Shiplog with the sample catalogue, as `shiplog up` starts it."""
    with start_instance(tmp_path_factory.mktemp("instance") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def site(instance: Instance) -> str:
    return instance.url


@pytest.fixture(scope="session")
def editor_key(instance: Instance) -> str:
    return instance.create_key("catalogue:write")
