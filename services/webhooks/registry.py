"""The registry of webhooks: open, rotate the secret, enable, disable, remove."""

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
OLD_SECRET_LIFETIME = timedelta(hours=24)

READ_WEBHOOKS = """
SELECT id, url, description, tools, created_at, failing_since, disabled_at, reason, old_until
  FROM webhooks WHERE $1::uuid IS NULL OR id = $1 ORDER BY created_at DESC, id
"""
LOCK_REGISTRY = "SELECT pg_advisory_xact_lock(hashtext('shiplog webhooks'))"
COUNT_WEBHOOKS = "SELECT count(*) FROM webhooks"
INSERT_WEBHOOK = (
    "INSERT INTO webhooks (id, url, description, tools, site, secret) VALUES ($1, $2, $3, $4, $5, $6)"
)
ROTATE_WEBHOOK = """
UPDATE webhooks SET old_secret = secret, old_until = clock_timestamp() + $3, secret = $2 WHERE id = $1 RETURNING id
"""
# Flips recorded while it was disabled are not sent: the cursor moves to now.
ENABLE_WEBHOOK = """
UPDATE webhooks
   SET disabled_at = NULL, reason = NULL, failing_since = NULL,
       told_at = clock_timestamp(), told_shard = 0, told_number = 0
 WHERE id = $1 AND disabled_at IS NOT NULL
"""
DISABLE_WEBHOOK = (
    "UPDATE webhooks SET disabled_at = clock_timestamp(), reason = $2 WHERE id = $1 AND disabled_at IS NULL"
)
FAIL_PENDING_DELIVERIES = """
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
DELETE_WEBHOOK = "DELETE FROM webhooks WHERE id = $1 RETURNING id"


class TooMany(Rejected):
    """There are {limit} webhooks already. Remove one that is not needed."""

    slug = "too-many"


class Disabled(Rejected):
    """This webhook is disabled: {reason} Enable it first."""

    slug = "disabled"


class Webhook(Struct, frozen=True):
    """``tools`` by number; None means all.

    ``failing_since``: the time of the first failed attempt since the last success. ``old_until``: until then
    messages are also signed with the secret before the last rotation.
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
    """The number of webhooks by state (well, failing, disabled), and of deliveries that are due."""

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
    """Returns the new webhook's id and secret. It gets flips recorded from now on. Raises TooMany."""
    webhook, secret = uuid4(), keys.mint()
    numbers = None if tools is None else list(tools)
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(LOCK_REGISTRY)
        if await conn.fetchval(COUNT_WEBHOOKS) >= WEBHOOKS_MAX:
            raise TooMany(limit=WEBHOOKS_MAX)
        await conn.execute(
            INSERT_WEBHOOK, webhook, url, description, numbers, site, keys.encrypt(webhook, secret)
        )
    return webhook, secret


async def read_webhooks(pool: Pool[Record]) -> list[Webhook]:
    """Newest first."""
    return [Webhook(*row) for row in await pool.fetch(READ_WEBHOOKS, None)]


async def read_webhook(pool: Pool[Record], id: UUID) -> Webhook:
    """Raises Unknown."""
    row = await pool.fetchrow(READ_WEBHOOKS, id)
    if row is None:
        raise _unknown(id)
    return Webhook(*row)


async def read_health(pool: Pool[Record]) -> WebhookHealth:
    row = await pool.fetchrow(READ_HEALTH)
    assert row is not None
    return WebhookHealth({state: row[state] for state in ("well", "failing", "disabled")}, row["due"])


async def rotate(pool: Pool[Record], keys: WebhookSecrets, id: UUID) -> bytes:
    """Returns the new secret. For OLD_SECRET_LIFETIME messages are signed with both. Raises Unknown."""
    secret = keys.mint()
    if await pool.fetchval(ROTATE_WEBHOOK, id, keys.encrypt(id, secret), OLD_SECRET_LIFETIME) is None:
        raise _unknown(id)
    return secret


async def enable(pool: Pool[Record], id: UUID) -> Webhook:
    """Send flips recorded from now on; those missed while it was disabled are skipped. Raises Unknown."""
    await pool.execute(ENABLE_WEBHOOK, id)
    return await read_webhook(pool, id)


async def disable(conn: PoolConnectionProxy[Record], id: UUID, reason: str) -> None:
    """Also fails its pending deliveries. The caller's transaction has locked the webhook."""
    await conn.execute(DISABLE_WEBHOOK, id, reason)
    await conn.execute(FAIL_PENDING_DELIVERIES, id, reason)


async def remove(pool: Pool[Record], id: UUID) -> None:
    """Also removes its deliveries. Raises Unknown."""
    if await pool.fetchval(DELETE_WEBHOOK, id) is None:
        raise _unknown(id)


def _unknown(id: UUID) -> Unknown:
    return Unknown(kind="webhook", name=str(id))
