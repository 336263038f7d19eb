"""Deadlines: each use of the database ends in time, also when the server does not answer or the network swallows packets."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg import Connection, Record
from asyncpg.pool import PoolConnectionProxy

if TYPE_CHECKING:
    _Pool = asyncpg.Pool[Record]
else:
    _Pool = asyncpg.Pool

USE_SECONDS_MAX = 2.7  # so that an answer is sent within 3.5 s
_STATEMENT_SECONDS_MIN = (
    0.5  # left of a use when it gets its connection; with less, good connections would be aborted
)
_CLOSE_SECONDS_MAX = 3.0


class Deadline:
    """The time, on the event loop's clock, by which a request has finished all its uses of the database."""

    __slots__ = ("at",)

    def __init__(self, seconds: float | None = None) -> None:
        self.renew(seconds)

    def renew(self, seconds: float | None = None) -> None:
        """``seconds`` from now, by default USE_SECONDS_MAX."""
        self.at = asyncio.get_running_loop().time() + (USE_SECONDS_MAX if seconds is None else seconds)


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def limited_by(deadline: Deadline | None) -> Iterator[None]:
    """Uses of the database in the block, and in tasks that it starts, end by ``deadline``."""
    before = _current.set(deadline)
    try:
        yield
    finally:
        _current.reset(before)


def end_of_use(seconds: float) -> float:
    """``seconds`` from now on the event loop's clock, or the current deadline if that is earlier."""
    end, current = asyncio.get_running_loop().time() + seconds, _current.get()
    return end if current is None else min(end, current.at)


class DeadlinePool(_Pool):
    """Uses of a connection, each from ``acquire`` to its release, end within ``seconds``; without, they have no limit.

    At the end, the connection is aborted, and its statement raises a PostgresConnectionError. asyncpg's own timeouts cancel
    a statement and then wait for the server to confirm it, for as long as the server is silent. The outcome of
    a statement that was aborted is unknown.
    """

    def __init__(self, dsn: str, *, size: int, seconds: float | None, **connect: Any) -> None:
        super().__init__(
            dsn,
            min_size=0,
            max_size=size,
            max_queries=50_000,
            max_inactive_connection_lifetime=300.0,
            loop=None,
            connection_class=Connection,
            record_class=Record,
            **connect,
        )
        self._seconds = seconds
        self._in_use: set[PoolConnectionProxy[Record]] = set()

    def acquire(self, *, timeout: float | None = None) -> _Use:  # type: ignore[override]
        return _Use(self, self._seconds if timeout is None else timeout)

    def abort_all(self) -> None:
        """Abort the connections in use."""
        for conn in list(self._in_use):
            _abort(conn)

    async def close(self) -> None:
        """Close idle connections, and abort those that are still in use after 3 s."""
        try:
            async with asyncio.timeout(_CLOSE_SECONDS_MAX):
                await super().close()
        except TimeoutError:
            self.terminate()

    async def take(self) -> PoolConnectionProxy[Record]:
        conn = await super().acquire()
        self._in_use.add(conn)
        return conn

    async def give_back(self, conn: PoolConnectionProxy[Record]) -> None:
        try:
            await self.release(conn)
        finally:
            self._in_use.discard(conn)


class _Use:
    """One use of a connection, as an async context manager."""

    __slots__ = ("_abort", "_conn", "_pool", "_seconds")

    def __init__(self, pool: DeadlinePool, seconds: float | None) -> None:
        self._pool, self._seconds = pool, seconds
        self._abort: TimerHandle | None = None

    async def __aenter__(self) -> PoolConnectionProxy[Record]:
        """Raises TimeoutError when no connection is free in time."""
        if self._seconds is None:
            self._conn = await self._pool.take()
            return self._conn
        loop, end = asyncio.get_running_loop(), end_of_use(self._seconds)
        self._conn = await self._take(loop, end - min(_STATEMENT_SECONDS_MIN, self._seconds / 2))
        self._abort = loop.call_at(end, _abort, self._conn)
        return self._conn

    async def _take(self, loop: AbstractEventLoop, latest: float) -> PoolConnectionProxy[Record]:
        if loop.time() >= latest:
            raise TimeoutError("no time is left for the database")
        async with asyncio.timeout_at(latest):
            return await self._pool.take()

    async def __aexit__(
        self, _: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The abort stays due during the release, which waits for a cancelled statement."""
        try:
            await self._pool.give_back(self._conn)
        finally:
            if self._abort is not None:
                self._abort.cancel()


def _abort(conn: PoolConnectionProxy[Record]) -> None:
    try:
        conn.terminate()
    except asyncpg.InterfaceError:
        return  # it has been released
