"""Webhooks: an editor says who is told of flips, sees what came of it, and sends again what did not arrive."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Meta, Struct

from domain.shared.types import Line, Slug
from domain.webhooks.endpoints import URL_CHARS_MAX, read_endpoint
from domain.webhooks.messages import State, write_secret
from services.api.http.app_state import app_state
from services.api.http.auth import for_editors
from services.api.http.json_body import StrictJSON
from services.api.http.pagination import SLUGS_MAX, Items, read_cursor, write_cursor
from services.api.http.problems import problem_responses
from services.api.http.requests import AnyRequest
from services.webhooks import deliveries, registry
from services.webhooks.deliveries import Delivery, message_id
from services.webhooks.registry import Webhook

_UNSEEN = {"Cache-Control": "no-store"}
_PAGE = 50


class AskWebhook(Struct, frozen=True, forbid_unknown_fields=True):
    """``tools``: whose flips are meant, by slug; null is all tools, those of later days too."""

    url: Annotated[str, Meta(min_length=1, max_length=URL_CHARS_MAX)]
    tools: Annotated[list[Slug], Meta(min_length=1, max_length=SLUGS_MAX)] | None = None
    description: Line = ""


class WebhookShown(Struct, frozen=True):
    """``old_secret_until``: until then messages are also signed with the secret before the last rotation.

    ``failing_since``: when the first attempt failed of those since the last success. ``reason``: why it is disabled.
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


class WebhookSecret(Struct, frozen=True):
    """``secret`` is shown this once: give it to the receiver."""

    webhook: WebhookShown
    secret: str


class DeliveryShown(Struct, frozen=True):
    """``webhook_id`` is the header of every attempt; ``payload`` the body, to the byte.

    ``next_at``: when it is tried next; null while it is sent, and when it is settled. ``status``, ``error`` and ``response``, the first
    1,024 bytes, are of the last attempt.
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


@post(
    "/v1/webhooks",
    dto=StrictJSON[AskWebhook],
    return_dto=None,
    status_code=201,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409, 413, 415),
)
async def open_webhook(request: AnyRequest, data: JSONBody[AskWebhook]) -> Response[WebhookSecret]:
    """Tell a receiver of verdicts that flip from now on. The secret is shown here and nowhere else."""
    pool, keys = app_state(request).pool, app_state(request).webhook_secrets
    read_endpoint(data.url, app_state(request).webhook_networks)
    tools = (
        None
        if data.tools is None
        else [(await app_state(request).tool_directory.find(slug)).tool for slug in data.tools]
    )
    site = request.headers.get("origin") or str(request.base_url).rstrip("/")
    made, secret = await registry.open_webhook(pool, keys, data.url, data.description, tools, site)
    answer = await _with_secret(request, made, secret)
    answer.headers["Location"] = f"/v1/webhooks/{made}"
    return answer


@get("/v1/webhooks", guards=[for_editors], responses=problem_responses(401, 403))
async def list_webhooks(request: AnyRequest) -> Response[Items[WebhookShown]]:
    """All webhooks, newest first."""
    found = await registry.read_webhooks(app_state(request).pool)
    return Response(Items(await _shown(request, found)), headers=_UNSEEN)


@get("/v1/webhooks/{id:uuid}", guards=[for_editors], responses=problem_responses(401, 403, 404))
async def show_webhook(request: AnyRequest, id: FromPath[UUID]) -> Response[WebhookShown]:
    """How one webhook gets on."""
    return await _one(request, id)


@delete(
    "/v1/webhooks/{id:uuid}",
    status_code=204,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404),
)
async def remove_webhook(request: AnyRequest, id: FromPath[UUID]) -> None:
    """Remove it, with its deliveries."""
    await registry.remove(app_state(request).pool, id)


@post(
    "/v1/webhooks/{id:uuid}/rotate",
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404),
)
async def rotate_secret(request: AnyRequest, id: FromPath[UUID]) -> Response[WebhookSecret]:
    """Give it a new secret. For 24 hours messages are signed with both."""
    secret = await registry.rotate(app_state(request).pool, app_state(request).webhook_secrets, id)
    return await _with_secret(request, id, secret)


@post(
    "/v1/webhooks/{id:uuid}/enable",
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404),
)
async def enable_webhook(request: AnyRequest, id: FromPath[UUID]) -> Response[WebhookShown]:
    """Go on with a webhook that was disabled, from now on. What it missed is in the flip log."""
    await registry.enable(app_state(request).pool, id)
    return await _one(request, id)


@post(
    "/v1/webhooks/{id:uuid}/test",
    status_code=202,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409),
)
async def ping_webhook(request: AnyRequest, id: FromPath[UUID]) -> Response[DeliveryShown]:
    """Send a message of the type `webhook.ping`. A worker does it; ask in the deliveries what came of it."""
    return await _delivery(request, id, await deliveries.enqueue_ping(app_state(request).pool, id))


@get("/v1/webhooks/{id:uuid}/deliveries", guards=[for_editors], responses=problem_responses(401, 403, 404))
async def list_deliveries(
    request: AnyRequest, id: FromPath[UUID], cursor: FromQuery[str | None] = None
) -> Response[Items[DeliveryShown]]:
    """What was sent, or is to be, newest first, fifty at a time. They are kept for thirty days."""
    before = None if cursor is None else read_cursor(cursor, tuple[UUID])[0]
    pool = app_state(request).pool
    await registry.read_webhook(pool, id)
    found = await deliveries.read_deliveries(pool, id, before, _PAGE + 1)
    page = found[:_PAGE]
    more = write_cursor((page[-1].id,)) if len(found) > _PAGE else None
    return Response(Items(await _deliveries_shown(request, page), more), headers=_UNSEEN)


@post(
    "/v1/webhooks/{id:uuid}/deliveries/{delivery:uuid}/redeliver",
    status_code=202,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409),
)
async def redeliver(
    request: AnyRequest, id: FromPath[UUID], delivery: FromPath[UUID]
) -> Response[DeliveryShown]:
    """Send a message again, whatever became of it, under the same `webhook-id`."""
    await deliveries.send_again(app_state(request).pool, id, delivery)
    return await _delivery(request, id, delivery)


async def _one(request: AnyRequest, id: UUID) -> Response[WebhookShown]:
    found = await registry.read_webhook(app_state(request).pool, id)
    return Response((await _shown(request, [found]))[0], headers=_UNSEEN)


async def _with_secret(request: AnyRequest, id: UUID, secret: bytes) -> Response[WebhookSecret]:
    found = await registry.read_webhook(app_state(request).pool, id)
    shown = (await _shown(request, [found]))[0]
    return Response(WebhookSecret(shown, write_secret(secret)), headers=_UNSEEN)


async def _delivery(request: AnyRequest, webhook: UUID, id: UUID) -> Response[DeliveryShown]:
    found = await deliveries.read_delivery(app_state(request).pool, webhook, id)
    return Response((await _deliveries_shown(request, [found]))[0], status_code=202, headers=_UNSEEN)


async def _shown(request: AnyRequest, webhooks: list[Webhook]) -> list[WebhookShown]:
    slugs = await app_state(request).tool_directory.slugs_of(
        [tool for each in webhooks for tool in each.tools or ()]
    )
    return [
        WebhookShown(
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


async def _deliveries_shown(request: AnyRequest, found: list[Delivery]) -> list[DeliveryShown]:
    slugs = await app_state(request).tool_directory.slugs_of(
        [each.tool for each in found if each.tool is not None]
    )
    return [
        DeliveryShown(
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
        for each in found
    ]
