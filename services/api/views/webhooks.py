"""Webhooks and deliveries as answers show them, with slugs in place of the numbers of tools."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from domain.webhooks.messages import State
from eventstore.tool_directory import ToolDirectory
from services.webhooks.deliveries import Delivery, message_id
from services.webhooks.registry import Webhook


class WebhookResponse(Struct, frozen=True):
    """``old_secret_until``: until then messages are also signed with the secret before the last rotation.

    ``failing_since``: the time of the first failed attempt since the last success. ``reason``: why it is disabled.
    """

    id: UUID
    url: str
    description: str
    tools: list[str] | None
    created_at: datetime
    failing_since: datetime | None
    disabled_at: datetime | None
    reason: str | None
    old_secret_until: datetime | None


class DeliveryResponse(Struct, frozen=True):
    """``webhook_id`` is a header of every attempt, and ``payload`` is the exact body.

    ``next_at``: the time of the next attempt; null during an attempt and once the delivery is settled.
    ``status``, ``error`` and ``response``, its first 1,024 bytes, are of the last attempt.
    """

    id: UUID
    webhook_id: str
    type: str
    tool: str | None
    state: State
    attempts: int
    next_at: datetime | None
    status: int | None
    error: str | None
    response: str
    payload: str
    created_at: datetime
    updated_at: datetime


async def present_webhooks(
    tool_directory: ToolDirectory, webhooks: Sequence[Webhook]
) -> list[WebhookResponse]:
    slugs = await tool_directory.slugs_of([tool for each in webhooks for tool in each.tools or ()])
    return [
        WebhookResponse(
            each.id,
            each.url,
            each.description,
            None if each.tools is None else [slugs[tool] for tool in each.tools],
            each.created_at,
            each.failing_since,
            each.disabled_at,
            each.reason,
            each.old_until,
        )
        for each in webhooks
    ]


async def present_deliveries(
    tool_directory: ToolDirectory, deliveries: Sequence[Delivery]
) -> list[DeliveryResponse]:
    slugs = await tool_directory.slugs_of([each.tool for each in deliveries if each.tool is not None])
    return [
        DeliveryResponse(
            each.id,
            message_id(each.id),
            each.type,
            None if each.tool is None else slugs[each.tool],
            each.state,
            each.attempts,
            each.next_at,
            each.status,
            each.error,
            each.response,
            each.payload,
            each.created_at,
            each.updated_at,
        )
        for each in deliveries
    ]
