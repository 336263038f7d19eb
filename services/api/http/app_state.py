"""Parts: what one API process is put together from, by name and type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, cast

from asyncpg import Pool, Record

from eventstore.appender import Appenders, Overloaded
from eventstore.tool_directory import ToolDirectory
from services.api.http.broadcast import Broadcast
from services.api.http.rate_limiter import RateLimiter
from services.api.http.requests import Connection
from services.auth.identity import Identity
from services.ingest.bulk import BulkIngest
from services.settings import Network
from services.wakeups import Wakeups
from services.webhooks.secrets import WebhookSecrets


class AppState(Protocol):
    """What the app's lifespan puts into its state."""

    pool: Pool[Record]
    shards: int
    tool_directory: ToolDirectory
    identity: Identity
    wakeups: Wakeups
    appenders: Appenders
    broadcast: Broadcast
    rate_limiter: RateLimiter
    bulk_slots: BulkSlots
    open_bulk_ingest: Callable[[str], BulkIngest]
    webhook_secrets: WebhookSecrets
    webhook_networks: tuple[Network, ...]


class BulkSlots:
    """At most so many bulk requests in hand at once; the next is told to come back."""

    def __init__(self, most: int) -> None:
        self._most, self._now = most, 0

    @contextmanager
    def one(self) -> Iterator[None]:
        if self._now >= self._most:
            raise Overloaded
        self._now += 1
        try:
            yield
        finally:
            self._now -= 1


def app_state(connection: Connection) -> AppState:
    return cast(AppState, connection.app.state)
