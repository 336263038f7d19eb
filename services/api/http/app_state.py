"""Parts: what one API process is put together from, by name and type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from asyncpg import Pool, Record
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State

from eventstore.appender import Appenders, Overloaded
from eventstore.tool_directory import Names
from services.auth.identity import Identity
from services.ingest.bulk import Intake
from services.settings import Network
from services.wakeups import Signals
from services.webhooks.secrets import Keyring

if TYPE_CHECKING:
    from services.api.http.broadcast import Live
    from services.api.http.rate_limits import Gate

# The framework's type parameters for handler, user and auth are not used here.
Connection: TypeAlias = ASGIConnection[Any, Any, Any, State]
AnyRequest: TypeAlias = Request[Any, Any, State]


class Parts(Protocol):
    """What the app's lifespan puts into its state."""

    pool: Pool[Record]
    shards: int
    names: Names
    identity: Identity
    signals: Signals
    appenders: Appenders
    live: Live
    gate: Gate
    senders: Senders
    open_intake: Callable[[str], Intake]
    keyring: Keyring
    webhook_networks: tuple[Network, ...]


class Senders:
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


def parts(connection: Connection) -> Parts:
    return cast(Parts, connection.app.state)
