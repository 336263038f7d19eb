"""Set-up of API tests: tools, reviewers and users; and read models that have caught up with the log."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeAlias
from uuid import UUID

import httpx
from asyncpg import Pool, Record

from domain.editorial import reviewers
from domain.shared.log import Shard
from eventstore.decisions import Author, decide_editorial
from projections.engine.advance import advance, shards_behind
from projections.engine.registry import PROJECTIONS
from services.auth.accounts import create_user
from services.auth.identity import Role
from services.settings import Settings

Client: TypeAlias = httpx.AsyncClient
Log: TypeAlias = "Pool[Record]"
Headers: TypeAlias = Mapping[str, str]

TOOL: dict[str, object] = {
    "name": "Quill",
    "tagline": "Writes.",
    "category": {"slug": "writing", "name": "Writing"},
    "pricing": {"entry": "Free", "detail": "open source"},
}
AUTHOR = Author(UUID(int=1), "test")
INTERNALS = ("Traceback", 'File "', ".py", "asyncpg", "msgspec", "litestar", "SELECT ", " at 0x")
# How msgspec and the framework word their errors; a pattern is shown as it is written.
LIBRARY_WORDS = (
    "Expected `",
    "regex",
    "^[",
    "Object ",
    "Invalid enum",
    "`str`",
    "Validation failed",
    "Missing required",
)


@dataclass(frozen=True)
class Stage:
    """A log that the tests of a module share, an app on it, and headers with API keys."""

    client: Client
    log: Log
    settings: Settings
    vote_key: Headers
    catalogue_key: Headers
    read_key: Headers


async def list_tool(client: Client, key: Headers, slug: str = "quill", **changes: object) -> httpx.Response:
    listed = await client.put(f"/v1/tools/{slug}", json=TOOL | changes, headers=dict(key))
    assert listed.status_code in (200, 201), listed.text
    return listed


async def retire_tool(client: Client, key: Headers, slug: str = "quill") -> None:
    assert (await client.post(f"/v1/tools/{slug}/retire", headers=dict(key))).status_code == 200


async def seat_panel(log: Log, *slugs: str) -> None:
    for slug in slugs:
        command = reviewers.PutReviewer(slug, slug.title(), "", "")
        async with log.acquire() as conn:
            await decide_editorial(
                conn,
                lambda past, c=command: reviewers.decide(c, reduce(reviewers.evolve, past, {})),
                AUTHOR,
            )
    await catch_up(log)


async def publish(
    client: Client, key: Headers, tool: str, reviewer: str, score: int, choice: str, text: str = ""
) -> httpx.Response:
    body = {"score": score, "choice": choice, "text": text}
    return await client.put(f"/v1/tools/{tool}/takes/{reviewer}", json=body, headers=dict(key))


def new_visitor(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Another visitor of the same app, without a cookie. It can send while another client awaits an answer."""
    transport = client._transport
    if not isinstance(transport, httpx.ASGITransport):
        transport = _ThreadedTransport(transport)
    return httpx.AsyncClient(transport=transport, base_url=client.base_url)


class _ThreadedTransport(httpx.AsyncBaseTransport):
    """Litestar's test client blocks the event loop until it has an answer; this waits in a thread."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer: httpx.Response = await asyncio.to_thread(self._transport.handle_request, request)
        return answer


async def vote(
    client: httpx.AsyncClient, tool: str = "quill", choice: str = "ship", **more: object
) -> httpx.Response:
    return await client.post("/v1/votes", json={"tool": tool, "choice": choice, **more})


async def vote_as(
    client: Client, key: Headers, voter: str, choice: str, tool: str = "quill"
) -> httpx.Response:
    body = {"tool": tool, "choice": choice, "voter": voter}
    return await client.post("/v1/votes", json=body, headers=dict(key))


async def log_in(client: Client, log: Log, name: str, role: Role, reviewer: str | None = None) -> None:
    """The client sends the session's cookie from then on."""
    user = await create_user(log, name, role, reviewer)
    opened = await client.post("/v1/session", json={"name": name, "password": user.password})
    assert opened.status_code == 200, opened.text


async def catch_up(log: Log) -> None:
    """Fold everything the log has into the read models."""
    for shard in await shards_behind(log):
        await catch_up_shard(log, shard)


async def catch_up_shard(log: Log, shard: Shard) -> None:
    while await advance(log, PROJECTIONS, shard):
        pass


async def count_events(log: Log) -> int:
    return int(await log.fetchval("SELECT count(*) FROM events"))


def assert_problem(answer: httpx.Response, *statuses: int) -> None:
    """One problem of RFC 9457, of one of these statuses, that shows nothing internal."""
    assert answer.status_code in statuses, f"{answer.status_code}: {answer.text[:500]}"
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem.keys() == {"type", "title", "status", "detail"}
    assert problem["type"].startswith("urn:shiplog:")
    assert problem["status"] == answer.status_code
    assert problem["title"]
    assert problem["detail"]
    assert not [word for word in INTERNALS + LIBRARY_WORDS if word in answer.text], answer.text[:500]
