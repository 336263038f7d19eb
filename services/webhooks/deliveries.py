"""Deliveries: one message to one webhook each. A worker claims it, sends it and settles it by the receiver's answer."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import assert_never
from uuid import UUID, uuid4

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.shared.errors import Unknown
from domain.webhooks.messages import (
    PING,
    AttemptResult,
    Delivered,
    DeliveryOutcome,
    GiveUp,
    Gone,
    Retry,
    State,
    outcome_of,
    ping_message,
)
from services.public_address import PublicAddress
from services.webhooks.registry import Disabled, disable

# Longer than an attempt may take. After it, another worker may claim the delivery of a worker that died.
CLAIM_LEASE = timedelta(seconds=30)
# A webhook is disabled when a message is given up and none has been delivered for this long.
DISABLE_AFTER = timedelta(days=3)
RETENTION = timedelta(days=30)

# The column next_at of a claimed delivery is the end of its lease, which is not shown.
READ_DELIVERIES = """
SELECT id, type, tool, state, attempts, CASE WHEN state = 'pending' AND claim IS NULL THEN next_at END AS next_at,
       status, error, response, payload, created_at, updated_at
  FROM webhook_deliveries AS d
 WHERE webhook = $1 AND ($2::uuid IS NULL OR id = $2)
   AND ($3::uuid IS NULL OR (created_at, id) < (SELECT o.created_at, o.id FROM webhook_deliveries AS o
                                                 WHERE o.webhook = d.webhook AND o.id = $3))
 ORDER BY created_at DESC, id DESC LIMIT $4
"""
# A transaction that changes a delivery and its webhook locks the webhook first.
LOCK_WEBHOOK = (
    "SELECT disabled_at IS NOT NULL AS disabled, reason, site FROM webhooks WHERE id = $1 FOR NO KEY UPDATE"
)
INSERT_DELIVERY = "INSERT INTO webhook_deliveries (id, webhook, type, payload) VALUES ($1, $2, $3, $4)"
REQUEUE_DELIVERY = """
UPDATE webhook_deliveries
   SET state = 'pending', attempts = 0, claim = NULL, next_at = clock_timestamp(), updated_at = clock_timestamp(),
       status = NULL, error = NULL, response = ''
 WHERE id = $1 AND webhook = $2 RETURNING id
"""
CLAIM_DELIVERY = Path(__file__).with_name("claim_delivery.sql").read_text()
SETTLE_DELIVERY = """
UPDATE webhook_deliveries
   SET state = $3, claim = NULL, next_at = clock_timestamp() + $4, status = $5, error = $6, response = $7,
       updated_at = clock_timestamp()
 WHERE id = $1 AND claim = $2 RETURNING id
"""
CLEAR_FAILURE = "UPDATE webhooks SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL"
MARK_FAILING = """
UPDATE webhooks SET failing_since = coalesce(failing_since, clock_timestamp()) WHERE id = $1
RETURNING failing_since <= clock_timestamp() - $2::interval
"""
DELETE_SETTLED = (
    "DELETE FROM webhook_deliveries WHERE state <> 'pending' AND updated_at < now() - $1::interval"
)


class Delivery(Struct, frozen=True):
    """``next_at``: the time of the next attempt; None while one is in flight, and once the delivery is settled.

    ``status``, ``error`` and ``response`` belong to the last attempt.
    """

    id: UUID
    type: str
    tool: int | None
    state: State
    attempts: int
    next_at: datetime | None
    status: int | None
    error: str | None
    response: str
    payload: str
    created_at: datetime
    updated_at: datetime


class ClaimedDelivery(Struct, frozen=True):
    """``attempts`` includes this one. The secrets are encrypted; ``old_secret`` is None once it has expired."""

    id: UUID
    webhook: UUID
    claim: UUID
    attempts: int
    payload: str
    url: str
    secret: bytes
    old_secret: bytes | None

    @property
    def message_id(self) -> str:
        """The same at every attempt, so that a receiver can ignore duplicates."""
        return message_id(self.id)


def message_id(delivery: UUID) -> str:
    return f"msg_{delivery.hex}"


async def read_deliveries(
    pool: Pool[Record], webhook: UUID, before: UUID | None, limit: int
) -> list[Delivery]:
    """Newest first: those older than ``before``, a delivery's id."""
    return [Delivery(*row) for row in await pool.fetch(READ_DELIVERIES, webhook, None, before, limit)]


async def read_delivery(pool: Pool[Record], webhook: UUID, id: UUID) -> Delivery:
    """Raises Unknown."""
    row = await pool.fetchrow(READ_DELIVERIES, webhook, id, None, 1)
    if row is None:
        raise Unknown(kind="delivery", name=str(id))
    return Delivery(*row)


async def enqueue_ping(pool: Pool[Record], webhook: UUID, public: PublicAddress | None = None) -> UUID:
    """Enqueue a test message. Returns the delivery's id. Raises Unknown or Disabled."""
    delivery_id = uuid4()
    async with pool.acquire() as conn, conn.transaction():
        stored = await _lock(conn, webhook)
        site = public.base if public else stored
        await conn.execute(
            INSERT_DELIVERY, delivery_id, webhook, PING, ping_message(datetime.now(UTC), site).decode()
        )
    return delivery_id


async def send_again(pool: Pool[Record], webhook: UUID, id: UUID) -> None:
    """Make a delivery due now, with its attempts counted from 0. Raises Unknown or Disabled."""
    async with pool.acquire() as conn, conn.transaction():
        await _lock(conn, webhook)
        if await conn.fetchval(REQUEUE_DELIVERY, id, webhook) is None:
            raise Unknown(kind="delivery", name=str(id))


async def claim(pool: Pool[Record]) -> ClaimedDelivery | None:
    """Claim the delivery that is due longest, of a webhook that has none in flight. None if there is none."""
    row = await pool.fetchrow(CLAIM_DELIVERY, uuid4(), CLAIM_LEASE)
    return ClaimedDelivery(*row) if row else None


async def settle(pool: Pool[Record], claimed: ClaimedDelivery, answer: AttemptResult) -> None:
    """Record the result of an attempt, unless the lease has expired and another worker has the claim."""
    meaning = outcome_of(answer, claimed.attempts, random.random())  # noqa: S311 - spreads load, hides nothing
    async with pool.acquire() as conn, conn.transaction():
        await conn.fetchrow(LOCK_WEBHOOK, claimed.webhook)
        after = meaning.after if isinstance(meaning, Retry) else timedelta(0)
        written = (claimed.id, claimed.claim, meaning.state, after, answer.status, answer.error, answer.text)
        if await conn.fetchval(SETTLE_DELIVERY, *written) is not None:
            await _update_webhook(conn, claimed.webhook, meaning)


async def _update_webhook(conn: PoolConnectionProxy[Record], webhook: UUID, meaning: DeliveryOutcome) -> None:
    """Clear or mark its failure, or disable it. The transaction has locked the webhook."""
    match meaning:
        case Delivered():
            await conn.execute(CLEAR_FAILURE, webhook)
        case Gone():
            await disable(conn, webhook, "The receiver answered 410 Gone.")
        case Retry() | GiveUp():
            too_long = await conn.fetchval(MARK_FAILING, webhook, DISABLE_AFTER)
            if too_long and isinstance(meaning, GiveUp):
                await disable(conn, webhook, "Nothing got through for three days.")
        case _:
            assert_never(meaning)


async def delete_old(pool: Pool[Record]) -> None:
    """Delete deliveries that were settled longer than RETENTION ago."""
    await pool.execute(DELETE_SETTLED, RETENTION)


async def _lock(conn: PoolConnectionProxy[Record], webhook: UUID) -> str:
    """Lock the webhook. Returns its site. Raises Unknown or Disabled."""
    row = await conn.fetchrow(LOCK_WEBHOOK, webhook)
    if row is None:
        raise Unknown(kind="webhook", name=str(webhook))
    if row["disabled"]:
        raise Disabled(reason=row["reason"])
    return str(row["site"])
