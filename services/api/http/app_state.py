"""What the requests of one API process share: built once at startup, never changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast
from uuid import UUID

from asyncpg import Pool, Record
from litestar import Litestar
from msgspec import Struct

from eventstore.appender import Appenders
from eventstore.tool_directory import ToolDirectory
from services.api.http.broadcast import Broadcast
from services.api.http.overload.bulk_slots import BulkSlots
from services.api.http.overload.rate_limiter import RateLimiter
from services.api.http.readiness import ReadModelProgress
from services.api.http.requests import Connection
from services.auth.devices import KnownDevices
from services.auth.identity import Identity
from services.ingest.bulk import BulkIngest
from services.public_address import PublicAddress
from services.settings import Network
from services.wakeups import Wakeups
from services.webhooks.secrets import WebhookSecrets

_NAME = "app_state"


class AppState(Struct, frozen=True, kw_only=True, eq=False):
    """``open_bulk_ingest`` takes the source that the votes are recorded under, which is the id of an API key.

    ``is_direct``: no setting says that there is a proxy in front. ``shows_sample``: the log began with the sample's votes.
    """

    pool: Pool[Record]
    shards: int
    tool_directory: ToolDirectory
    identity: Identity
    devices: KnownDevices
    wakeups: Wakeups
    appenders: Appenders
    broadcast: Broadcast
    rate_limiter: RateLimiter
    bulk_slots: BulkSlots
    open_bulk_ingest: Callable[[str], BulkIngest]
    webhook_secrets: WebhookSecrets
    webhook_networks: tuple[Network, ...]
    public_address: PublicAddress | None
    installation: UUID
    is_direct: bool
    progress: ReadModelProgress
    shows_sample: bool


def app_state(connection: Connection) -> AppState:
    return cast(AppState, connection.app.state[_NAME])


def set_app_state(app: Litestar, app_state: AppState) -> None:
    app.state[_NAME] = app_state
