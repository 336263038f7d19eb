"""Webhook jobs: write deliveries of new flips, send those that are due, delete old ones."""

from __future__ import annotations

from projections.flips.store import flips_after
from services.webhooks.deliveries import delete_old
from services.webhooks.outbox import write_deliveries
from services.workers.guard import survive_outages
from services.workers.jobs import Context


@survive_outages
async def write_flip_deliveries(ctx: Context) -> int:
    """Write a delivery of each new flip for each webhook. Safe to run in several workers. Returns the number written."""
    return await write_deliveries(ctx["pool"], flips_after, public=ctx.get("public_address"))


@survive_outages
async def send_due(ctx: Context) -> int:
    """Send messages until none is due. Safe to run concurrently. Returns the number of attempts."""
    sent, sender = 0, ctx.get("sender")
    while sender is not None and await sender.deliver(ctx["pool"]):
        sent += 1
    return sent


@survive_outages
async def delete_old_deliveries(ctx: Context) -> None:
    """Settled deliveries are kept for a month."""
    await delete_old(ctx["pool"])
