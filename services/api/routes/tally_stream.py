"""Live tallies as server-sent events. Each carries the whole state, so a client that reconnects needs no history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from litestar import get
from litestar.params import QueryParameter
from litestar.response import ServerSentEvent
from litestar.response.sse import ServerSentEventMessage

from services.api.http.app_state import app_state
from services.api.http.auth import open_to_all
from services.api.http.broadcast import Broadcast, Subscriber
from services.api.http.client_address import address_of
from services.api.http.pagination import slugs_in
from services.api.http.problems import problem_responses
from services.api.http.requests import AnyRequest
from services.api.views.tallies import read_tallies_by_slug

HEARTBEAT_SECONDS = 15.0


@get(
    "/v1/tallies/stream",
    guards=[open_to_all],
    responses=problem_responses(404),
    media_type="text/event-stream",
)
async def stream_tallies(
    request: AnyRequest,
    tools: Annotated[
        str, QueryParameter(description="Slugs, comma-separated, at most 100", max_length=12_000)
    ],
) -> ServerSentEvent:
    """`tally` events carrying state, first at once and then on change; the id is the log position shown."""
    tool_directory = app_state(request).tool_directory
    address = address_of(request, app_state(request).rate_limiter.proxies)
    watched = {slug: (await tool_directory.find(slug)).tool for slug in slugs_in(tools)}
    subscriber = Subscriber(watched, address)
    app_state(request).broadcast.subscribe(subscriber)
    subscriber.offer(*await read_tallies_by_slug(app_state(request).pool, subscriber.tools))
    return ServerSentEvent(
        _frames(app_state(request).broadcast, subscriber),
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _frames(broadcast: Broadcast, subscriber: Subscriber) -> AsyncIterator[ServerSentEventMessage]:
    try:
        yield ServerSentEventMessage(data=None, retry=1000, comment="shiplog live tallies")
        while not broadcast.stopping.is_set():
            for frame in subscriber.frames():
                yield frame
            try:
                await asyncio.wait_for(subscriber.changed.wait(), HEARTBEAT_SECONDS)
            except TimeoutError:
                yield ServerSentEventMessage(data=None, comment="still here")
    finally:
        broadcast.unsubscribe(subscriber)
