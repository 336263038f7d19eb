"""Webhook jobs: tell of flips, send what is due, and forget what is old."""

from __future__ import annotations

import structlog
from asyncpg import InterfaceError, PostgresError

from projections.flips.store import flips_after
from services.webhooks.deliveries import forget_old
from services.webhooks.outbox import tell
from services.workers.jobs import Context

_UNREACHABLE = (PostgresError, InterfaceError, OSError, TimeoutError)
_log = structlog.get_logger()


async def tell_flips(ctx: Context) -> int:
    """Make deliveries of flips that webhooks were not told of. Safe beside any other worker; returns how many."""
    try:
        return await tell(ctx["pool"], flips_after)
    except _UNREACHABLE as error:
        _log.warning("Postgres did not answer; webhooks are told soon", error=str(error))
        return 0


async def send_due(ctx: Context) -> int:
    """One message after the other until none is due. Safe beside any other sender; returns how many were sent."""
    sent, sender = 0, ctx.get("sender")
    try:
        while sender is not None and await sender.deliver(ctx["pool"]):
            sent += 1
    except _UNREACHABLE as error:
        _log.warning("Postgres did not answer; what was not settled is sent again", error=str(error))
    return sent


async def forget(ctx: Context) -> None:
    """Deliveries are kept for a month."""
    try:
        await forget_old(ctx["pool"])
    except _UNREACHABLE as error:
        _log.warning("Postgres did not answer; old deliveries are forgotten later", error=str(error))
