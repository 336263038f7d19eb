"""Parts: what one API process is put together from, by name and type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from asyncpg import Pool, Record
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State

from eventstore.appender import Appenders
from eventstore.names import Names
from services.identity import Identity
from services.signals import Signals

if TYPE_CHECKING:
    from services.api.live import Live

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


def parts(connection: Connection) -> Parts:
    return cast(Parts, connection.app.state)
