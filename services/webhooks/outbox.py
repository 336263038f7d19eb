"""Telling: flips become deliveries, each once for each webhook, whoever does it and however often."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias
from uuid import UUID, uuid4

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy

from domain.timeline.flips import Flip, LogOrder
from domain.webhooks.messages import FLIPPED, ToolPayload, flip_message

# The flips after a place, in the log's own order: so many, and those that have their cause with the last of them, so
# that whoever moves on to its place has seen every flip there.
FlipsAfter: TypeAlias = "Callable[[PoolConnectionProxy[Record], LogOrder, int], Awaitable[Sequence[Flip]]]"

AT_A_TIME = 500

READ_OPEN = "SELECT id FROM webhooks WHERE disabled_at IS NULL"
HOLD = """
SELECT told_at, told_shard, told_number, tools, site FROM webhooks
 WHERE id = $1 AND disabled_at IS NULL FOR NO KEY UPDATE SKIP LOCKED
"""
MOVE_ON = """
UPDATE webhooks SET told_at = $2, told_shard = $3, told_number = $4
 WHERE id = $1 AND (told_at, told_shard, told_number) < ($2, $3, $4)
"""
# Slugs are written with the event that names them, so they are never behind; names may be.
READ_NAMES = """
SELECT s.tool, s.slug, coalesce(c.details->>'name', s.slug)
  FROM slugs AS s LEFT JOIN catalogue AS c ON c.shard = 0 AND c.tool = s.tool
 WHERE s.tool = ANY($1)
"""
PUT_DELIVERY = """
INSERT INTO webhook_deliveries (id, webhook, type, tool, caused_at, cause_shard, cause_number, payload)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING
"""


async def tell(pool: Pool[Record], flips_after: FlipsAfter, at_a_time: int = AT_A_TIME) -> int:
    """Make deliveries of all flips that no webhook was told of yet. Returns how many."""
    made = 0
    for row in await pool.fetch(READ_OPEN):
        while (more := await _tell(pool, row["id"], flips_after, at_a_time)) is not None:
            made += more
    return made


async def _tell(pool: Pool[Record], id: UUID, flips_after: FlipsAfter, at_a_time: int) -> int | None:
    """One portion for one webhook, and its place moved, in one transaction. None where there is nothing to do."""
    async with pool.acquire() as conn, conn.transaction():
        held = await conn.fetchrow(HOLD, id)
        if held is None:
            return None
        flips = await flips_after(conn, LogOrder(*held[:3]), at_a_time)
        if not flips:
            return None
        meant = [flip for flip in flips if held["tools"] is None or flip.tool in held["tools"]]
        await conn.executemany(PUT_DELIVERY, await _deliveries(conn, id, held["site"], meant))
        last = flips[-1].order
        await conn.execute(MOVE_ON, id, last.recorded_at, last.shard, last.number)
        return len(meant)


async def _deliveries(
    conn: PoolConnectionProxy[Record], webhook: UUID, site: str, flips: Sequence[Flip]
) -> list[tuple[object, ...]]:
    rows = await conn.fetch(READ_NAMES, list({flip.tool for flip in flips}))
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
