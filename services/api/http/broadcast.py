"""Live tallies: each announcement reads the watched tools once, and offers them to every stream of the process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TypeAlias
from weakref import WeakSet

import msgspec
from litestar.response.sse import ServerSentEventMessage

from domain.shared.log import Position
from projections.engine.snapshot import Freshness
from services.api.http.problems import HttpRejected
from services.resources import POSTGRES_UNAVAILABLE
from services.wakeups import Wakeups

_READ_SECONDS_MIN = 0.05  # between two reads, however many announcements arrive
_OFFERS_MAX = 10  # in one pass of the event loop, so that other requests are answered in between
_REST_FACTOR = 4  # after a round that took long, for the same reason

States: TypeAlias = Mapping[str, msgspec.Struct]
ReadStates: TypeAlias = Callable[[dict[str, int]], Awaitable[tuple[States, Freshness]]]


class Subscriber:
    """One stream: the newest state of its tools and the one it sent last. A slow client skips the states between."""

    def __init__(self, tools: dict[str, int], address: str = "") -> None:
        self.tools, self.address = tools, address
        self.changed = asyncio.Event()
        self._latest: dict[str, msgspec.Struct] = {}
        self._sent: dict[str, msgspec.Struct] = {}
        self._positions: tuple[Position, ...] = ()

    def offer(self, states: States, freshness: Freshness) -> None:
        """Takes states by slug, unless they are older than the last ones offered."""
        if self._positions and not _is_later(freshness.positions, self._positions):
            return
        self._positions = freshness.positions
        self._latest = {slug: states[slug] for slug in self.tools if slug in states}
        self.changed.set()

    def frames(self) -> list[ServerSentEventMessage]:
        """An event for each tool whose state has changed since the last call; the event id is the position shown."""
        self.changed.clear()
        new = [state for slug, state in self._latest.items() if self._sent.get(slug) != state]
        self._sent = self._latest
        shown = ",".join(map(str, self._positions))
        return [
            ServerSentEventMessage(event="tally", id=shown, data=msgspec.json.encode(state).decode())
            for state in new
        ]


def _too_many(cause: str) -> HttpRejected:
    return HttpRejected(503, "try-again", f"{cause} Connect again in a few seconds.", {"Retry-After": "5"})


def _is_later(new: tuple[Position, ...], old: tuple[Position, ...]) -> bool:
    return len(new) >= len(old) and all(a.number >= b.number for a, b in zip(new, old, strict=False))


class Broadcast:
    """``read`` returns the states of tools by slug. It is called for the watched tools once per announcement."""

    def __init__(self, read: ReadStates, wakeups: Wakeups, streams_max: int) -> None:
        self._read, self._wakeups, self._streams_max = read, wakeups, streams_max
        # Weak references: the framework may drop a stream before it begins, and never call unsubscribe.
        self._subscribers: WeakSet[Subscriber] = WeakSet()
        self._task = asyncio.create_task(self._run(), name="broadcast")
        self.stopping = asyncio.Event()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Raises HttpRejected at ``streams_max`` streams, since other requests need the rest of the connections.

        A quarter of them may be open from one address.
        """
        if len(self._subscribers) >= self._streams_max:
            raise _too_many("Too many live streams are open.")
        of_address = sum(each.address == subscriber.address for each in self._subscribers)
        if of_address >= max(self._streams_max // 4, 1):
            raise _too_many("Too many live streams are open from your address.")
        self._subscribers.add(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.discard(subscriber)

    def end_streams(self) -> None:
        self.stopping.set()
        for subscriber in self._subscribers:
            subscriber.changed.set()

    async def close(self) -> None:
        self.end_streams()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        async for _ in self._wakeups.listen():
            started = time.perf_counter()
            with suppress(*POSTGRES_UNAVAILABLE):
                await self._read_and_offer()
            took = time.perf_counter() - started
            await asyncio.sleep(max(_READ_SECONDS_MIN, took * _REST_FACTOR))

    async def _read_and_offer(self) -> None:
        watched = {slug: tool for subscriber in self._subscribers for slug, tool in subscriber.tools.items()}
        if not watched:
            return
        states, freshness = await self._read(watched)
        for number, subscriber in enumerate(list(self._subscribers), 1):
            subscriber.offer(states, freshness)
            if number % _OFFERS_MAX == 0:
                await asyncio.sleep(0)
