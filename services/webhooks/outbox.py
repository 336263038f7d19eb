"""Transactional outbox: each flip becomes one delivery for each webhook, exactly once, however many workers write them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias
from uuid import UUID, uuid4

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy

from domain.timeline.flips import Flip, LogOrder
from domain.webhooks.messages import FLIPPED, ToolPayload, flip_message
from services.public_address import PublicAddress

# Reads flips after a position, in log order: up to a limit, plus the remaining flips of the last one's event, so that
# moving the cursor past that event skips none.
FlipsAfter: TypeAlias = "Callable[[PoolConnectionProxy[Record], LogOrder, int], Awaitable[Sequence[Flip]]]"

BATCH_MAX = 500

READ_ENABLED_WEBHOOKS = "SELECT id FROM webhooks WHERE disabled_at IS NULL"
LOCK_CURSOR = """
SELECT told_at, told_shard, told_number, tools, site FROM webhooks
 WHERE id = $1 AND disabled_at IS NULL FOR NO KEY UPDATE SKIP LOCKED
"""
MOVE_CURSOR = """
UPDATE webhooks SET told_at = $2, told_shard = $3, told_number = $4
 WHERE id = $1 AND (told_at, told_shard, told_number) < ($2, $3, $4)
"""
# A slug is committed with the event that lists the tool; the catalogue, which has the name, may be behind.
READ_TOOL_NAMES = """
SELECT s.tool, s.slug, coalesce(c.details->>'name', s.slug)
  FROM slugs AS s LEFT JOIN catalogue AS c ON c.shard = 0 AND c.tool = s.tool
 WHERE s.tool = ANY($1)
"""
INSERT_DELIVERY = """
INSERT INTO webhook_deliveries (id, webhook, type, tool, caused_at, cause_shard, cause_number, payload)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING
"""


async def write_deliveries(
    pool: Pool[Record],
    flips_after: FlipsAfter,
    batch_max: int = BATCH_MAX,
    public: PublicAddress | None = None,
) -> int:
    """Write deliveries of all flips after each webhook's cursor. Returns the number written.

    Links begin with the ``public`` address, or else with the site stored when the webhook was created.
    """
    written = 0
    for row in await pool.fetch(READ_ENABLED_WEBHOOKS):
        while (batch := await _write_batch(pool, row["id"], flips_after, batch_max, public)) is not None:
            written += batch
    return written


async def _write_batch(
    pool: Pool[Record], id: UUID, flips_after: FlipsAfter, batch_max: int, public: PublicAddress | None
) -> int | None:
    """Write one batch for one webhook and move its cursor, in one transaction. None when there is none, or it is locked."""
    async with pool.acquire() as conn, conn.transaction():
        cursor = await conn.fetchrow(LOCK_CURSOR, id)
        if cursor is None:
            return None
        flips = await flips_after(conn, LogOrder(*cursor[:3]), batch_max)
        if not flips:
            return None
        subscribed = [flip for flip in flips if cursor["tools"] is None or flip.tool in cursor["tools"]]
        site = public.base if public else cursor["site"]
        await conn.executemany(INSERT_DELIVERY, await _deliveries(conn, id, site, subscribed))
        last = flips[-1].order
        await conn.execute(MOVE_CURSOR, id, last.recorded_at, last.shard, last.number)
        return len(subscribed)


async def _deliveries(
    conn: PoolConnectionProxy[Record], webhook: UUID, site: str, flips: Sequence[Flip]
) -> list[tuple[object, ...]]:
    rows = await conn.fetch(READ_TOOL_NAMES, list({flip.tool for flip in flips}))
    tools = {tool: ToolPayload(slug, name) for tool, slug, name in rows}
    return [
        (
            uuid4(),
            webhook,
            FLIPPED,
            flip.tool,
            flip.order.recorded_at,
            flip.order.shard,
            flip.order.number,
            flip_message(flip, tools[flip.tool], site).decode(),
        )
        for flip in flips
    ]
