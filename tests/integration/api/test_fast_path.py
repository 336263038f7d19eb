"""The fast path of votes: plain votes take it, no other request does, and both paths answer alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar
from litestar.types import ASGIApp, Receive, Scope, Send

from eventstore.appender import Appenders, CommitUnknown, Overloaded
from eventstore.ids import mint
from services.api.http.json_body import decode
from services.api.http.problems import HttpRejected
from services.api.http.public_address import LocatedRequests
from services.api.routes.fast_path import VoteFastPath, _decode
from services.api.routes.votes import CastVote
from services.auth import identity
from services.auth.identity import VISITOR_COOKIE
from tests.support.stage import Stage, list_tool, retire_tool

ID = "019a9b5c-0000-7000-8000-000000000001"


class Paths:
    """The same app with its fast path and without, and the number of requests passed to the router."""

    def __init__(self, stage: Stage) -> None:
        app: Litestar = stage.client._transport.app  # type: ignore[attr-defined]
        fast_path = cast(VoteFastPath, cast(LocatedRequests, app.asgi_handler).app)
        self._app, self._router, self.routed = app, fast_path._router, 0
        self.fast = self._client(VoteFastPath(fast_path._app_state, self._count, fast_path._admission))
        self.documented = self._client(self._router)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.routed += 1
        await self._router(scope, receive, send)

    def _client(self, handler: ASGIApp) -> httpx.AsyncClient:
        async def asgi(scope: Any, receive: Any, send: Any) -> None:
            scope["app"] = scope["litestar_app"] = self._app
            scope.setdefault("state", {})
            await handler(scope, receive, send)

        return httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url="http://shiplog.test")


@pytest.fixture
async def paths(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Paths]:
    """The API key and the tool are cached, and stay so however slow the machine is."""
    monkeypatch.setattr(identity, "KEY_CACHE_SECONDS", 600.0)
    paths = Paths(stage)
    async with paths.fast, paths.documented:
        await paths.fast.post("/v1/votes", **plain(stage))
        paths.routed = 0
        yield paths


def plain(stage: Stage, **more: object) -> dict[str, Any]:
    return {
        "json": {"tool": "quill", "choice": "ship", "voter": f"v{uuid4()}"} | more,
        "headers": dict(stage.vote_key),
    }


async def test_a_plain_vote_with_an_api_key_takes_the_fast_path(paths: Paths, stage: Stage) -> None:
    for more in ({}, {"id": str(mint())}):
        answer = await paths.fast.post("/v1/votes", **plain(stage, **more))
        assert (answer.status_code, answer.json()["outcome"]) == (200, "counted")
    assert paths.routed == 0


async def test_a_visitor_takes_the_fast_path_from_the_second_vote_on(paths: Paths) -> None:
    vote = {"tool": "quill", "choice": "ship"}
    assert VISITOR_COOKIE in (await paths.fast.post("/v1/votes", json=vote)).cookies
    assert paths.routed == 1
    changed = await paths.fast.post(
        "/v1/votes", json=vote | {"choice": "skip"}, headers={"Origin": "http://shiplog.test"}
    )
    assert (changed.status_code, changed.json()["replaced"]) == (200, "ship")
    assert "set-cookie" not in changed.headers
    assert paths.routed == 1


NOT_PLAIN: dict[str, dict[str, Any]] = {
    "unknown tool": {"json": {"tool": "nothing", "choice": "ship", "voter": "v"}},
    "retired tool": {"json": {"tool": "gone", "choice": "ship", "voter": "v"}},
    "another choice": {"json": {"tool": "quill", "choice": "maybe", "voter": "v"}},
    "no voter": {"json": {"tool": "quill", "choice": "ship"}},
    "empty voter": {"json": {"tool": "quill", "choice": "ship", "voter": ""}},
    "long voter": {"json": {"tool": "quill", "choice": "ship", "voter": "v" * 129}},
    "escaped": {"content": b'{"tool":"quill","choice":"ship","voter":"a\\u0000b"}'},
    "null id": {"content": b'{"tool":"quill","choice":"ship","voter":"odd","id":null}'},
    "twice": {"content": b'{"tool":"quill","choice":"ship","voter":"a","voter":"b"}'},
    "unknown field": {"json": {"tool": "quill", "choice": "ship", "voter": "v", "shard": 1}},
    "not an id of ours": {"json": {"tool": "quill", "choice": "ship", "voter": "v", "id": str(UUID(int=0))}},
    "trailing": {"content": b'{"tool":"quill","choice":"ship","voter":"v"} x'},
    "empty": {"content": b""},
    "array": {"content": b"[]"},
    "not utf-8": {"content": b'{"tool":"quill","choice":"ship","voter":"\xff"}'},
    "too large": {"content": b'{"tool":"quill","choice":"ship","voter":"v"}' + b" " * 20_000},
    "as text": {
        "content": b'{"tool":"quill","choice":"ship","voter":"v"}',
        "headers": {"content-type": "text/plain"},
    },
    "wrong key": {
        "json": {"tool": "quill", "choice": "ship", "voter": "v"},
        "headers": {"authorization": "Bearer slk_no"},
    },
    "basic": {
        "json": {"tool": "quill", "choice": "ship", "voter": "v"},
        "headers": {"authorization": "Basic dTpw"},
    },
}


@pytest.mark.parametrize("case", NOT_PLAIN)
async def test_a_request_that_is_not_plain_is_answered_by_the_documented_route(
    paths: Paths, stage: Stage, case: str
) -> None:
    if case == "retired tool":
        await list_tool(paths.fast, stage.catalogue_key, "gone")
        await retire_tool(paths.fast, stage.catalogue_key, "gone")
        paths.routed = 0
    sent = {**NOT_PLAIN[case]}
    sent["headers"] = {"content-type": "application/json", **stage.vote_key} | sent.get("headers", {})
    fast = await paths.fast.post("/v1/votes", **sent)
    documented = await paths.documented.post("/v1/votes", **sent)
    assert paths.routed == 1
    assert (fast.status_code, fast.headers["content-type"]) == (
        documented.status_code,
        documented.headers["content-type"],
    )
    if fast.status_code != 200:
        assert fast.json() == documented.json()


async def test_both_paths_answer_every_cast_of_a_ballot_alike(paths: Paths, stage: Stage) -> None:
    """First, repeated, changed, resent and late casts: the same answers, except for ids and positions."""
    answered = []
    for client in (paths.fast, paths.documented):
        voter, early, late = f"voter {uuid4()}", str(mint()), str(mint())
        steps = [
            {"id": early},
            {"choice": "ship"},
            {"choice": "skip", "id": late},
            {"choice": "skip", "id": late},
        ]
        answers = [
            await client.post("/v1/votes", **plain(stage, voter=voter, **step))
            for step in [*steps, {"id": early}]
        ]
        answered.append([(a.status_code, {**a.json(), "id": 0, "position": 0}, shape(a)) for a in answers])
    assert answered[0] == answered[1]
    assert paths.routed == 0


def shape(answer: httpx.Response) -> dict[str, str]:
    return {name: "" if name == "content-length" else value for name, value in answer.headers.items()}


async def test_a_page_of_another_site_cannot_use_the_fast_path(paths: Paths) -> None:
    vote = {"tool": "quill", "choice": "ship"}
    await paths.fast.post("/v1/votes", json=vote)
    for headers in ({"Origin": "https://evil.test"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert (await paths.fast.post("/v1/votes", json=vote, headers=headers)).status_code == 403


async def test_the_fast_path_counts_in_the_metrics_of_its_route(paths: Paths, stage: Stage) -> None:
    def counted(text: str) -> float:
        lines = (line for line in text.splitlines() if line.startswith("shiplog_requests_total{"))
        return sum(float(line.split()[-1]) for line in lines if 'path="/v1/votes",status_code="200"' in line)

    before = counted((await paths.fast.get("/metrics", headers=stage.read_key)).text)
    await paths.fast.post("/v1/votes", **plain(stage))
    await paths.documented.post("/v1/votes", **plain(stage))
    assert counted((await paths.fast.get("/metrics", headers=stage.read_key)).text) == before + 2


@pytest.mark.parametrize(
    ("error", "kind"), [(Overloaded(), "try-again"), (CommitUnknown("cut"), "unsettled")]
)
async def test_a_vote_that_cannot_be_appended_is_a_503_with_retry_after(
    paths: Paths, stage: Stage, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    for client in (paths.fast, paths.documented):
        monkeypatch.setattr(Appenders, "append", fail)
        answer = await client.post("/v1/votes", **plain(stage))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["type"] == f"urn:shiplog:{kind}"
    assert paths.routed == 0


TOKENS = ('"tool"', '"choice"', '"voter"', '"id"', '"quill"', '"ship"', '"skip"', '"v"', f'"{ID}"')
MARKS = ("null", "1", ":", ",", "{", "}", " ", '"', "\\", '\\"', "\\u0074ool", "\0", "\n", "[", "]")
FIELDS = (
    *('"tool":"quill"', '"choice":"ship"', '"choice":"skip"', '"voter":"v"', '"voter":""', '"voter":null'),
    *(f'"id":"{ID}"', '"id":null', '"t\\u006fol":"quill"', '"tool":"\\"quill"'),
)
SOUP = st.lists(st.sampled_from(TOKENS + MARKS), max_size=16).map("".join)
VOTES = st.lists(st.sampled_from(FIELDS), max_size=4).map(
    lambda more: "{" + ",".join([*FIELDS[:2], *more]) + "}"
)


@given(VOTES | SOUP)
def test_the_fast_path_decodes_what_strict_json_decodes(body: str) -> None:
    vote = _decode({"type": "http.request", "body": body.encode(), "more_body": False})
    if vote is None:
        return
    try:
        documented = decode(body.encode(), CastVote)
    except HttpRejected as error:
        pytest.fail(f"the documented route rejects what the fast path accepted: {error}")
    assert fields(vote) == fields(documented)


def fields(vote: Any) -> list[object]:
    return [getattr(vote, name) for name in ("tool", "choice", "voter", "id")]
