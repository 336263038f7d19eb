"""Webhooks: editors register receivers of flips, follow the deliveries, and send messages again."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from domain.shared.types import Line, Slug
from domain.webhooks.endpoints import URL_CHARS_MAX, parse_endpoint
from domain.webhooks.messages import encode_secret
from services.api.http.app_state import app_state
from services.api.http.auth import for_editors
from services.api.http.caching import NO_STORE
from services.api.http.documented import LOCATION
from services.api.http.json_body import StrictJSON
from services.api.http.pagination import SLUGS_MAX, Cursor, Items, next_link, read_cursor, write_cursor
from services.api.http.problems import problem_responses
from services.api.http.public_address import public_address, site_of
from services.api.http.requests import AnyRequest
from services.api.views.webhooks import (
    DeliveryResponse,
    WebhookResponse,
    present_deliveries,
    present_webhooks,
)
from services.webhooks import deliveries, registry

_PAGE_SIZE = 50


class WebhookRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """``tools``: the tools whose flips are sent, by slug; null means all tools, including future ones."""

    url: Annotated[str, Meta(min_length=1, max_length=URL_CHARS_MAX)]
    tools: Annotated[list[Slug], Meta(min_length=1, max_length=SLUGS_MAX)] | None = None
    description: Line = ""


class WebhookSecret(Struct, frozen=True):
    """``secret`` is shown only this once: give it to the receiver."""

    webhook: WebhookResponse
    secret: str


@post(
    "/v1/webhooks",
    dto=StrictJSON[WebhookRequest],
    return_dto=None,
    status_code=201,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409, 413, 415),
    response_headers=[LOCATION],
)
async def open_webhook(request: AnyRequest, data: JSONBody[WebhookRequest]) -> Response[WebhookSecret]:
    """Send the flips from now on to a receiver. The secret is shown here and nowhere else."""
    pool, keys = app_state(request).pool, app_state(request).webhook_secrets
    parse_endpoint(data.url, app_state(request).webhook_networks)
    tools = (
        None
        if data.tools is None
        else [(await app_state(request).tool_directory.find(slug)).tool for slug in data.tools]
    )
    webhook, secret = await registry.open_webhook(
        pool, keys, data.url, data.description, tools, site_of(request)
    )
    answer = await _answer_with_secret(request, webhook, secret)
    answer.headers["Location"] = public_address(request.scope).link(f"/v1/webhooks/{webhook}")
    return answer


@get("/v1/webhooks", guards=[for_editors], responses=problem_responses(401, 403))
async def list_webhooks(request: AnyRequest) -> Response[Items[WebhookResponse]]:
    """All webhooks, newest first."""
    webhooks = await registry.read_webhooks(app_state(request).pool)
    items = await present_webhooks(app_state(request).tool_directory, webhooks)
    return Response(Items(items), headers=NO_STORE)


@get("/v1/webhooks/{id:uuid}", guards=[for_editors], responses=problem_responses(401, 403, 404))
async def show_webhook(request: AnyRequest, id: FromPath[UUID]) -> Response[WebhookResponse]:
    """One webhook with its state."""
    return await _answer(request, id)


@delete(
    "/v1/webhooks/{id:uuid}",
    status_code=204,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404),
)
async def remove_webhook(request: AnyRequest, id: FromPath[UUID]) -> None:
    """Remove a webhook and its deliveries."""
    await registry.remove(app_state(request).pool, id)


@post(
    "/v1/webhooks/{id:uuid}/rotate",
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404),
)
async def rotate_secret(request: AnyRequest, id: FromPath[UUID]) -> Response[WebhookSecret]:
    """Give a webhook a new secret. For 24 hours messages are signed with both secrets."""
    secret = await registry.rotate(app_state(request).pool, app_state(request).webhook_secrets, id)
    return await _answer_with_secret(request, id, secret)


@post(
    "/v1/webhooks/{id:uuid}/enable",
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404),
)
async def enable_webhook(request: AnyRequest, id: FromPath[UUID]) -> Response[WebhookResponse]:
    """Enable a disabled webhook from now on. The flips that it missed are in `/v1/verdicts/flips`."""
    await registry.enable(app_state(request).pool, id)
    return await _answer(request, id)


@post(
    "/v1/webhooks/{id:uuid}/test",
    status_code=202,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409),
)
async def ping_webhook(request: AnyRequest, id: FromPath[UUID]) -> Response[DeliveryResponse]:
    """Send a message of the type `webhook.ping`. A worker does it; the deliveries show the result."""
    return await _answer_delivery(request, id, await _enqueue_ping(request, id))


@get("/v1/webhooks/{id:uuid}/deliveries", guards=[for_editors], responses=problem_responses(401, 403, 404))
async def list_deliveries(
    request: AnyRequest, id: FromPath[UUID], cursor: Cursor = None
) -> Response[Items[DeliveryResponse]]:
    """Deliveries, pending and settled, newest first, fifty a page. They are kept for thirty days."""
    before = None if cursor is None else read_cursor(cursor, tuple[UUID])[0]
    pool = app_state(request).pool
    await registry.read_webhook(pool, id)
    rows = await deliveries.read_deliveries(pool, id, before, _PAGE_SIZE + 1)
    page = rows[:_PAGE_SIZE]
    more = write_cursor((page[-1].id,)) if len(rows) > _PAGE_SIZE else None
    items = await present_deliveries(app_state(request).tool_directory, page)
    headers = NO_STORE | ({"Link": next_link(request, more)} if more else {})
    return Response(Items(items, more), headers=headers)


@post(
    "/v1/webhooks/{id:uuid}/deliveries/{delivery:uuid}/redeliver",
    status_code=202,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409),
)
async def redeliver(
    request: AnyRequest, id: FromPath[UUID], delivery: FromPath[UUID]
) -> Response[DeliveryResponse]:
    """Send a message again, whatever its state, under the same `webhook-id`."""
    await deliveries.send_again(app_state(request).pool, id, delivery)
    return await _answer_delivery(request, id, delivery)


async def _enqueue_ping(request: AnyRequest, id: UUID) -> UUID:
    return await deliveries.enqueue_ping(app_state(request).pool, id, app_state(request).public_address)


async def _answer(request: AnyRequest, id: UUID) -> Response[WebhookResponse]:
    return Response(await _read_webhook(request, id), headers=NO_STORE)


async def _answer_with_secret(request: AnyRequest, id: UUID, secret: bytes) -> Response[WebhookSecret]:
    webhook = await _read_webhook(request, id)
    return Response(WebhookSecret(webhook, encode_secret(secret)), headers=NO_STORE)


async def _read_webhook(request: AnyRequest, id: UUID) -> WebhookResponse:
    webhook = await registry.read_webhook(app_state(request).pool, id)
    return (await present_webhooks(app_state(request).tool_directory, [webhook]))[0]


async def _answer_delivery(request: AnyRequest, webhook: UUID, id: UUID) -> Response[DeliveryResponse]:
    delivery = await deliveries.read_delivery(app_state(request).pool, webhook, id)
    (item,) = await present_deliveries(app_state(request).tool_directory, [delivery])
    return Response(item, status_code=202, headers=NO_STORE)
