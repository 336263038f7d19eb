"""The checks of `shiplog doctor`: each says what is so, or what is wrong and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from asyncpg import Connection, Record
from msgspec import Struct
from redis import Redis
from redis.exceptions import RedisError

from services.database import READ_VERSIONS, DatabaseUnusable, NotDurable, connect, newer_versions
from services.resources import open_pool
from services.settings import Settings

READ_SERVER = """
SELECT current_setting('server_version') AS version, clock_timestamp() AS now,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS connections,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name NOT LIKE 'shiplog%')
           AS others,
       pg_database_size(current_database()) AS bytes, to_regclass('public.schema_migrations') IS NOT NULL AS migrated
"""
CLOCK_SECONDS_MAX = 2.0
FREE_BYTES_MIN = 2**30
PROCESSES_MIN = 2  # `serve` and `work`


class Check(Struct, frozen=True):
    name: str
    ok: bool
    text: str


def passed(name: str, text: str) -> Check:
    return Check(name=name, ok=True, text=text)


def failed(name: str, text: str) -> Check:
    return Check(name=name, ok=False, text=text)


async def check_all(settings: Settings, folders: Iterable[Path]) -> list[Check]:
    return [*await _check_postgres(settings), _check_redis(settings), *map(_check_disk, folders)]


async def _check_postgres(settings: Settings) -> list[Check]:
    try:
        conn = await connect(settings)
    except DatabaseUnusable as error:
        return [failed("database", str(error))]
    try:
        server = await conn.fetchrow(READ_SERVER)
        assert server is not None
        newer = await _newer(conn) if server["migrated"] else []
    finally:
        await conn.close()
    size = f"PostgreSQL {server['version']}, the database has {server['bytes'] / 1e6:,.0f} MB"
    return [
        passed("database", size),
        *await _check_use(settings, newer),
        _check_clock(server["now"]),
        _check_pool(settings, server["connections"], server["others"]),
    ]


async def _newer(conn: Connection[Record]) -> list[str]:
    return newer_versions({row[0] for row in await conn.fetch(READ_VERSIONS)})


async def _check_use(settings: Settings, newer: list[str]) -> list[Check]:
    """Open a pool as `serve` does: durability, role, grants, migrations."""
    try:
        await (await open_pool(settings, size=1)).close()
    except NotDurable as error:
        return [failed("durability", str(error))]
    except DatabaseUnusable as error:
        return [failed("migrations", str(error))]
    accepted = ", ".join(sorted(settings.accept_unsafe_durability))
    durable = f"accepted as they are: {accepted}" if accepted else "acknowledged votes survive a crash"
    text = (
        f"a newer release added {', '.join(newer)}: upgrade"
        if newer
        else "up to date, role and grants are whole"
    )
    return [passed("durability", durable), Check("migrations", not newer, text)]


def _check_clock(now: datetime) -> Check:
    seconds = (datetime.now(UTC) - now).total_seconds()
    if abs(seconds) <= CLOCK_SECONDS_MAX:
        return passed("clock", f"{abs(seconds) * 1000:.0f} ms from PostgreSQL's")
    return failed("clock", f"{seconds:+.0f} s from PostgreSQL's. Synchronize both, for example with chrony.")


def _check_pool(settings: Settings, connections: int, others: int) -> Check:
    processes = max(connections - others, 0) // settings.pool_size
    text = f"room for {processes} processes of SHIPLOG_POOL_SIZE={settings.pool_size} in {connections} connections"
    if processes >= PROCESSES_MIN:
        return passed("connections", text)
    return failed("connections", f"{text}. Raise max_connections or lower SHIPLOG_POOL_SIZE.")


def _check_redis(settings: Settings) -> Check:
    if settings.redis_url is None:
        return passed("redis", "not set: workers look for votes every second, limits hold per process")
    try:
        with Redis.from_url(settings.redis_url, socket_timeout=2, socket_connect_timeout=2) as redis:
            redis.ping()
    except (RedisError, OSError, ValueError) as error:
        return failed("redis", f"{' '.join(str(error).split())}. Correct REDIS_URL, or start Redis.")
    return passed("redis", "answers")


def _check_disk(folder: Path) -> Check:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    text = f"{free / 1e9:,.1f} GB free in {folder}"
    return Check("disk", free >= FREE_BYTES_MIN, text if free >= FREE_BYTES_MIN else f"{text}: make room.")
