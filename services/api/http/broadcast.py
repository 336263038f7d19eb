"""Live tallies: server-sent events that carry state, so that a reader who was away needs no history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated
from weakref import WeakSet

import msgspec
from asyncpg import Pool, PostgresError, Record
from litestar import get
from litestar.params import QueryParameter
from litestar.response import ServerSentEvent
from litestar.response.sse import ServerSentEventMessage

from domain.shared.log import Position
from projections.engine.snapshot import Freshness
from services.api.http.app_state import AnyRequest, parts
from services.api.http.auth import open_to_all
from services.api.http.pagination import slugs_in
from services.api.http.problems import Rejected, may_answer
from services.api.routes.tallies import ToolTally, read_tallies_of
from services.wakeups import Signals

HEARTBEAT_SECONDS = 15.0
_REST_SECONDS = 0.05  # between two readings, however many hints came


class Subscriber:
    """One stream: what it last saw of its tools, and whether there is news. A slow reader skips states."""

    def __init__(self, tools: dict[str, int]) -> None:
        self.tools = tools
        self.news = asyncio.Event()
        self._latest: dict[str, ToolTally] = {}
        self._sent: dict[str, ToolTally] = {}
        self._positions: tuple[Position, ...] = ()

    def offer(self, tallies: dict[str, ToolTally], freshness: Freshness) -> None:
        """Take newer state; what is older than the last is dropped."""
        if self._positions and not _is_later(freshness.positions, self._positions):
            return
        self._positions = freshness.positions
        self._latest = {slug: tallies[slug] for slug in self.tools if slug in tallies}
        self.news.set()

    def frames(self) -> list[ServerSentEventMessage]:
        """What changed since the last frame, under the position it shows."""
        self.news.clear()
        changed = [tally for slug, tally in self._latest.items() if self._sent.get(slug) != tally]
        self._sent = self._latest
        shown = ",".join(map(str, self._positions))
        return [
            ServerSentEventMessage(event="tally", id=shown, data=msgspec.json.encode(each).decode())
            for each in changed
        ]


def _is_later(new: tuple[Position, ...], old: tuple[Position, ...]) -> bool:
    return len(new) >= len(old) and all(a.number >= b.number for a, b in zip(new, old, strict=False))


class Live:
    """Reads the tallies that somebody watches, once per hint, and hands them to every stream of this process."""

    def __init__(self, pool: Pool[Record], signals: Signals, most: int) -> None:
        self._pool, self._signals, self._most = pool, signals, most
        self._subscribers: WeakSet[Subscriber] = WeakSet()  # whose stream never began is forgotten
        self._task = asyncio.create_task(self._run(), name="live tallies")
        self.stopping = asyncio.Event()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Raises Rejected when streams have as many connections as they may: others need the rest."""
        if len(self._subscribers) >= self._most:
            raise Rejected(
                503,
                "try-again",
                "Too many are watching. Connect again in a few seconds.",
                {"Retry-After": "5"},
            )
        self._subscribers.add(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.discard(subscriber)

    async def close(self) -> None:
        self.stopping.set()
        for subscriber in self._subscribers:
            subscriber.news.set()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        async for _ in self._signals.listen():
            with suppress(PostgresError, OSError, TimeoutError):
                await self._read()
            await asyncio.sleep(_REST_SECONDS)

    async def _read(self) -> None:
        watched = {slug: tool for subscriber in self._subscribers for slug, tool in subscriber.tools.items()}
        if not watched:
            return
        tallies, freshness = await read_tallies_of(self._pool, watched)
        by_slug = {tally.tool: tally for tally in tallies}
        for subscriber in self._subscribers:
            subscriber.offer(by_slug, freshness)


@get(
    "/v1/tallies/stream",
    guards=[open_to_all],
    responses=may_answer(404),
    media_type="text/event-stream",
)
async def stream_tallies(
    request: AnyRequest,
    tools: Annotated[
        str, QueryParameter(description="Slugs, comma-separated, at most 100", max_length=12_000)
    ],
) -> ServerSentEvent:
    """`tally` events carrying state, first at once and then on change; the id is the log position shown."""
    names = parts(request).names
    subscriber = Subscriber({slug: (await names.find(slug)).tool for slug in slugs_in(tools)})
    parts(request).live.subscribe(subscriber)
    tallies, freshness = await read_tallies_of(parts(request).pool, subscriber.tools)
    subscriber.offer({tally.tool: tally for tally in tallies}, freshness)
    return ServerSentEvent(
        _frames(parts(request).live, subscriber),
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _frames(live: Live, subscriber: Subscriber) -> AsyncIterator[ServerSentEventMessage]:
    try:
        yield ServerSentEventMessage(data=None, retry=1000, comment="shiplog live tallies")
        while not live.stopping.is_set():
            for frame in subscriber.frames():
                yield frame
            try:
                await asyncio.wait_for(subscriber.news.wait(), HEARTBEAT_SECONDS)
            except TimeoutError:
                yield ServerSentEventMessage(data=None, comment="still here")
    finally:
        live.unsubscribe(subscriber)
