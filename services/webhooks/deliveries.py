"""Deliveries: one message to one webhook. Made, claimed by a worker, settled by the receiver's answer, sent again."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
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
from services.webhooks.registry import Disabled, disable

# Longer than an attempt may take: the claim of a worker that died is another's after this.
CLAIM = timedelta(seconds=30)
# A webhook is disabled when a message was given up and nothing got through for this long.
PATIENCE = timedelta(days=3)
KEPT = timedelta(days=30)

# While a worker has it in hand, its next time is that of the claim's end, which is nobody else's business.
READ = """
SELECT id, type, tool, state, attempts, CASE WHEN state = 'pending' AND claim IS NULL THEN next_at END AS next_at,
       status, error, response, payload, created_at, updated_at
  FROM webhook_deliveries AS d
 WHERE webhook = $1 AND ($2::uuid IS NULL OR id = $2)
   AND ($3::uuid IS NULL OR (created_at, id) < (SELECT o.created_at, o.id FROM webhook_deliveries AS o
                                                 WHERE o.webhook = d.webhook AND o.id = $3))
 ORDER BY created_at DESC, id DESC LIMIT $4
"""
# Whoever changes a delivery and its webhook takes the webhook first.
HOLD_WEBHOOK = (
    "SELECT disabled_at IS NOT NULL AS disabled, reason, site FROM webhooks WHERE id = $1 FOR NO KEY UPDATE"
)
PUT = "INSERT INTO webhook_deliveries (id, webhook, type, payload) VALUES ($1, $2, $3, $4)"
SEND_AGAIN = """
UPDATE webhook_deliveries
   SET state = 'pending', attempts = 0, claim = NULL, next_at = clock_timestamp(), updated_at = clock_timestamp(),
       status = NULL, error = NULL, response = ''
 WHERE id = $1 AND webhook = $2 RETURNING id
"""
# The webhook whose next message has waited longest, and that has none in hand: a slow receiver keeps no more than one
# sender's attention, and however many messages wait for it are not looked through.
TAKE = """
WITH due AS (
     SELECT d.id FROM webhooks AS w CROSS JOIN LATERAL (
            SELECT n.id, n.next_at FROM webhook_deliveries AS n
             WHERE n.webhook = w.id AND n.state = 'pending' AND n.next_at <= now() ORDER BY n.next_at LIMIT 1) AS d
      WHERE w.disabled_at IS NULL
        AND NOT EXISTS (SELECT FROM webhook_deliveries AS o
                         WHERE o.webhook = w.id AND o.claim IS NOT NULL AND o.next_at > now())
      ORDER BY d.next_at LIMIT 1 FOR NO KEY UPDATE OF w SKIP LOCKED)
UPDATE webhook_deliveries AS d
   SET claim = $1, attempts = d.attempts + 1, next_at = now() + $2, updated_at = now()
  FROM due, webhooks AS w
 WHERE d.id = due.id AND d.state = 'pending' AND d.next_at <= now() AND w.id = d.webhook
RETURNING d.id, d.webhook, d.claim, d.attempts, d.payload, w.url, w.secret,
          CASE WHEN w.old_until > now() THEN w.old_secret END AS old_secret
"""
SETTLE = """
UPDATE webhook_deliveries
   SET state = $3, claim = NULL, next_at = clock_timestamp() + $4, status = $5, error = $6, response = $7,
       updated_at = clock_timestamp()
 WHERE id = $1 AND claim = $2 RETURNING id
"""
GOT_THROUGH = "UPDATE webhooks SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL"
GOT_STUCK = """
UPDATE webhooks SET failing_since = coalesce(failing_since, clock_timestamp()) WHERE id = $1
RETURNING failing_since <= clock_timestamp() - $2::interval
"""
FORGET = "DELETE FROM webhook_deliveries WHERE state <> 'pending' AND updated_at < now() - $1::interval"


class Delivery(Struct, frozen=True):
    """``next_at``: when it is tried next; None while it is sent, and when it is settled.

    ``status``, ``error`` and ``response`` are the last attempt's.
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


class Claimed(Struct, frozen=True):
    """``attempts`` counts this one. The secrets are encrypted; the old one is there while it signs as well."""

    id: UUID
    webhook: UUID
    claim: UUID
    attempts: int
    payload: str
    url: str
    secret: bytes
    old_secret: bytes | None

    @property
    def name(self) -> str:
        """The same at every attempt, so that a receiver knows what it has had."""
        return name_of(self.id)


def name_of(delivery: UUID) -> str:
    return f"msg_{delivery.hex}"


async def read_deliveries(
    pool: Pool[Record], webhook: UUID, before: UUID | None, limit: int
) -> list[Delivery]:
    """Newest first, from ``before`` on."""
    return [Delivery(*row) for row in await pool.fetch(READ, webhook, None, before, limit)]


async def read_delivery(pool: Pool[Record], webhook: UUID, id: UUID) -> Delivery:
    """Raises Unknown."""
    row = await pool.fetchrow(READ, webhook, id, None, 1)
    if row is None:
        raise Unknown(kind="delivery", name=str(id))
    return Delivery(*row)


async def put_ping(pool: Pool[Record], webhook: UUID) -> UUID:
    """A message that says only that it works. Raises Unknown, or Disabled."""
    fresh = uuid4()
    async with pool.acquire() as conn, conn.transaction():
        site = await _hold(conn, webhook)
        await conn.execute(PUT, fresh, webhook, PING, ping_message(datetime.now(UTC), site).decode())
    return fresh


async def send_again(pool: Pool[Record], webhook: UUID, id: UUID) -> None:
    """Now, with all its attempts before it. Raises Unknown, or Disabled."""
    async with pool.acquire() as conn, conn.transaction():
        await _hold(conn, webhook)
        if await conn.fetchval(SEND_AGAIN, id, webhook) is None:
            raise Unknown(kind="delivery", name=str(id))


async def claim(pool: Pool[Record]) -> Claimed | None:
    """The message that has waited longest, of a webhook that has none in hand."""
    row = await pool.fetchrow(TAKE, uuid4(), CLAIM)
    return Claimed(*row) if row else None


async def settle(pool: Pool[Record], claimed: Claimed, answer: AttemptResult) -> None:
    """Write down what came of it, unless the claim has gone to somebody else meanwhile."""
    meaning = outcome_of(answer, claimed.attempts, random.random())  # noqa: S311 - spreads load, hides nothing
    async with pool.acquire() as conn, conn.transaction():
        await conn.fetchrow(HOLD_WEBHOOK, claimed.webhook)
        after = meaning.after if isinstance(meaning, Retry) else timedelta(0)
        written = (claimed.id, claimed.claim, meaning.state, after, answer.status, answer.error, answer.text)
        if await conn.fetchval(SETTLE, *written) is not None:
            await _draw_consequence(conn, claimed.webhook, meaning)


async def _draw_consequence(
    conn: PoolConnectionProxy[Record], webhook: UUID, meaning: DeliveryOutcome
) -> None:
    """For the webhook, which the transaction holds."""
    match meaning:
        case Delivered():
            await conn.execute(GOT_THROUGH, webhook)
        case Gone():
            await disable(conn, webhook, "The receiver answered 410 Gone.")
        case Retry() | GiveUp():
            too_long = await conn.fetchval(GOT_STUCK, webhook, PATIENCE)
            if too_long and isinstance(meaning, GiveUp):
                await disable(conn, webhook, "Nothing got through for three days.")
        case _:
            assert_never(meaning)


async def forget_old(pool: Pool[Record]) -> None:
    """Deliveries that have been settled for KEPT."""
    await pool.execute(FORGET, KEPT)


async def _hold(conn: PoolConnectionProxy[Record], webhook: UUID) -> str:
    """The site it tells of. Raises Unknown, or Disabled."""
    row = await conn.fetchrow(HOLD_WEBHOOK, webhook)
    if row is None:
        raise Unknown(kind="webhook", name=str(webhook))
    if row["disabled"]:
        raise Disabled(reason=row["reason"])
    return str(row["site"])
