"""Register: the webhooks there are. One is opened, given a new secret, closed by failure, opened again, or removed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.shared.errors import Rejected, Unknown
from services.webhooks.secrets import WebhookSecrets

WEBHOOKS_MAX = 100
OLD_SECRET_SIGNS = timedelta(hours=24)

READ = """
SELECT id, url, description, tools, created_at, failing_since, disabled_at, reason, old_until
  FROM webhooks WHERE $1::uuid IS NULL OR id = $1 ORDER BY created_at DESC, id
"""
HOLD_PLACES = "SELECT pg_advisory_xact_lock(hashtext('shiplog webhooks'))"
COUNT = "SELECT count(*) FROM webhooks"
OPEN = "INSERT INTO webhooks (id, url, description, tools, site, secret) VALUES ($1, $2, $3, $4, $5, $6)"
ROTATE = """
UPDATE webhooks SET old_secret = secret, old_until = clock_timestamp() + $3, secret = $2 WHERE id = $1 RETURNING id
"""
# What it missed is not sent: it begins again where the log is now.
REOPEN = """
UPDATE webhooks
   SET disabled_at = NULL, reason = NULL, failing_since = NULL,
       told_at = clock_timestamp(), told_shard = 0, told_number = 0
 WHERE id = $1 AND disabled_at IS NOT NULL
"""
CLOSE = (
    "UPDATE webhooks SET disabled_at = clock_timestamp(), reason = $2 WHERE id = $1 AND disabled_at IS NULL"
)
GIVE_UP = """
UPDATE webhook_deliveries SET state = 'failed', claim = NULL, error = $2, updated_at = clock_timestamp()
 WHERE webhook = $1 AND state = 'pending'
"""
READ_HEALTH = """
SELECT count(*) FILTER (WHERE disabled_at IS NOT NULL) AS disabled,
       count(*) FILTER (WHERE disabled_at IS NULL AND failing_since IS NOT NULL) AS failing,
       count(*) FILTER (WHERE disabled_at IS NULL AND failing_since IS NULL) AS well,
       (SELECT count(*) FROM webhook_deliveries WHERE state = 'pending' AND claim IS NULL AND next_at <= now()) AS due
  FROM webhooks
"""
REMOVE = "DELETE FROM webhooks WHERE id = $1 RETURNING id"


class TooMany(Rejected):
    """There are {most} webhooks already. Remove one that is not needed."""

    slug = "too-many"


class Disabled(Rejected):
    """This webhook is disabled: {reason} Enable it first."""

    slug = "disabled"


class Webhook(Struct, frozen=True):
    """``tools`` by number, None for all.

    ``failing_since``: when the first attempt failed of those since the last success. ``old_until``: until then the
    secret before the last rotation signs as well.
    """

    id: UUID
    url: str
    description: str
    tools: list[int] | None
    created_at: datetime
    failing_since: datetime | None
    disabled_at: datetime | None
    reason: str | None
    old_until: datetime | None


class WebhookHealth(Struct, frozen=True):
    """How many webhooks are well, failing and disabled, and how many messages are due."""

    webhooks: dict[str, int]
    due: int


async def open_webhook(
    pool: Pool[Record],
    keys: WebhookSecrets,
    url: str,
    description: str,
    tools: Sequence[int] | None,
    site: str,
) -> tuple[UUID, bytes]:
    """The new one and its secret. It is told of what is recorded from now on. Raises TooMany."""
    fresh, secret = uuid4(), keys.mint()
    numbers = None if tools is None else list(tools)
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(HOLD_PLACES)
        if await conn.fetchval(COUNT) >= WEBHOOKS_MAX:
            raise TooMany(most=WEBHOOKS_MAX)
        await conn.execute(OPEN, fresh, url, description, numbers, site, keys.lock(fresh, secret))
    return fresh, secret


async def read_webhooks(pool: Pool[Record]) -> list[Webhook]:
    """Newest first."""
    return [Webhook(*row) for row in await pool.fetch(READ, None)]


async def read_webhook(pool: Pool[Record], id: UUID) -> Webhook:
    """Raises Unknown."""
    row = await pool.fetchrow(READ, id)
    if row is None:
        raise _unknown(id)
    return Webhook(*row)


async def read_health(pool: Pool[Record]) -> WebhookHealth:
    row = await pool.fetchrow(READ_HEALTH)
    assert row is not None
    return WebhookHealth({state: row[state] for state in ("well", "failing", "disabled")}, row["due"])


async def rotate(pool: Pool[Record], keys: WebhookSecrets, id: UUID) -> bytes:
    """The new secret. The one before it signs as well for OLD_SECRET_SIGNS. Raises Unknown."""
    secret = keys.mint()
    if await pool.fetchval(ROTATE, id, keys.lock(id, secret), OLD_SECRET_SIGNS) is None:
        raise _unknown(id)
    return secret


async def enable(pool: Pool[Record], id: UUID) -> Webhook:
    """From now on; what was not sent meanwhile is not sent any more. Raises Unknown."""
    await pool.execute(REOPEN, id)
    return await read_webhook(pool, id)


async def disable(conn: PoolConnectionProxy[Record], id: UUID, reason: str) -> None:
    """And give up what is pending. In the caller's transaction, which holds the webhook."""
    await conn.execute(CLOSE, id, reason)
    await conn.execute(GIVE_UP, id, reason)


async def remove(pool: Pool[Record], id: UUID) -> None:
    """With its deliveries. Raises Unknown."""
    if await pool.fetchval(REMOVE, id) is None:
        raise _unknown(id)


def _unknown(id: UUID) -> Unknown:
    return Unknown(kind="webhook", name=str(id))
