"""Live state for streams: what is watched is read once per announcement and offered to every stream of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TypeAlias
from weakref import WeakSet

import msgspec
from asyncpg import PostgresError
from litestar.response.sse import ServerSentEventMessage

from domain.shared.log import Position
from projections.engine.snapshot import Freshness
from services.api.http.problems import HttpRejected
from services.wakeups import Wakeups

_REST_SECONDS = 0.05  # between two reads, however many announcements arrive

States: TypeAlias = Mapping[str, msgspec.Struct]
Read: TypeAlias = Callable[[dict[str, int]], Awaitable[tuple[States, Freshness]]]


class Subscriber:
    """One stream: the state it last sent of each of its tools, and whether there is newer. A slow client skips states."""

    def __init__(self, tools: dict[str, int]) -> None:
        self.tools = tools
        self.news = asyncio.Event()
        self._latest: dict[str, msgspec.Struct] = {}
        self._sent: dict[str, msgspec.Struct] = {}
        self._positions: tuple[Position, ...] = ()

    def offer(self, states: States, freshness: Freshness) -> None:
        """Take newer state, by slug; state that is older than the last is dropped."""
        if self._positions and not _is_later(freshness.positions, self._positions):
            return
        self._positions = freshness.positions
        self._latest = {slug: states[slug] for slug in self.tools if slug in states}
        self.news.set()

    def frames(self) -> list[ServerSentEventMessage]:
        """What changed since the last frame, under the position it shows."""
        self.news.clear()
        changed = [state for slug, state in self._latest.items() if self._sent.get(slug) != state]
        self._sent = self._latest
        shown = ",".join(map(str, self._positions))
        return [
            ServerSentEventMessage(event="tally", id=shown, data=msgspec.json.encode(each).decode())
            for each in changed
        ]


def _is_later(new: tuple[Position, ...], old: tuple[Position, ...]) -> bool:
    return len(new) >= len(old) and all(a.number >= b.number for a, b in zip(new, old, strict=False))


class Broadcast:
    """``read`` gives the states of tools, by slug; it is called for what somebody watches, once per announcement."""

    def __init__(self, read: Read, wakeups: Wakeups, streams_max: int) -> None:
        self._read, self._wakeups, self._streams_max = read, wakeups, streams_max
        # Weak, so that a subscriber whose stream never began is forgotten.
        self._subscribers: WeakSet[Subscriber] = WeakSet()
        self._task = asyncio.create_task(self._run(), name="broadcast")
        self.stopping = asyncio.Event()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Raises Rejected when there are ``streams_max`` streams: other requests need the rest of the connections."""
        if len(self._subscribers) >= self._streams_max:
            raise HttpRejected(
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
        async for _ in self._wakeups.listen():
            with suppress(PostgresError, OSError, TimeoutError):
                await self._offer()
            await asyncio.sleep(_REST_SECONDS)

    async def _offer(self) -> None:
        watched = {slug: tool for subscriber in self._subscribers for slug, tool in subscriber.tools.items()}
        if not watched:
            return
        states, freshness = await self._read(watched)
        for subscriber in self._subscribers:
            subscriber.offer(states, freshness)
