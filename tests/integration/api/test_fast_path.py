"""The short way of a vote: plain votes take it, nothing else does, and nobody can tell from the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.types import Receive, Scope, Send

from eventstore.appender import Appenders, CommitUnknown, Overloaded
from eventstore.ids import mint
from services.api.app import Shiplog
from services.api.http.json_body import decode
from services.api.http.problems import HttpRejected
from services.api.routes.fast_path import VoteFastPath, _decode
from services.api.routes.votes import CastVote
from services.auth import identity
from services.auth.identity import VISITOR_COOKIE
from tests.support.stage import Stage, list_tool, retire_tool

ID = "019a9b5c-0000-7000-8000-000000000001"


class Ways:
    """The same app with and without its short way, and how many requests took the long one."""

    def __init__(self, stage: Stage) -> None:
        app: Shiplog = stage.client._transport.app  # type: ignore[attr-defined]
        self._router, self.long = app._fast_path._router, 0
        self.both = self._client(VoteFastPath(app, self._counted, app._fast_path._admission))
        self.long_only = self._client(self._router)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.long += 1
        await self._router(scope, receive, send)

    def _client(self, asgi: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url="http://shiplog.test")


@pytest.fixture
async def ways(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ways]:
    """Warm: the key and the tool have been looked up, and stay so however slow the machine is."""
    monkeypatch.setattr(identity, "KEY_CACHE_SECONDS", 600.0)
    ways = Ways(stage)
    async with ways.both, ways.long_only:
        await ways.both.post("/v1/votes", **plain(stage))
        ways.long = 0
        yield ways


def plain(stage: Stage, **more: object) -> dict[str, Any]:
    return {
        "json": {"tool": "quill", "choice": "ship", "voter": f"v{uuid4()}"} | more,
        "headers": dict(stage.vote_key),
    }


async def test_a_plain_vote_of_a_program_takes_the_short_way(ways: Ways, stage: Stage) -> None:
    for more in ({}, {"id": str(mint())}):
        answer = await ways.both.post("/v1/votes", **plain(stage, **more))
        assert (answer.status_code, answer.json()["outcome"]) == (200, "counted")
    assert ways.long == 0


async def test_a_visitor_takes_it_from_the_second_vote_on(ways: Ways) -> None:
    vote = {"tool": "quill", "choice": "ship"}
    assert VISITOR_COOKIE in (await ways.both.post("/v1/votes", json=vote)).cookies
    assert ways.long == 1
    changed = await ways.both.post(
        "/v1/votes", json=vote | {"choice": "skip"}, headers={"Origin": "http://shiplog.test"}
    )
    assert (changed.status_code, changed.json()["replaced"]) == (200, "ship")
    assert "set-cookie" not in changed.headers
    assert ways.long == 1


ODD: dict[str, dict[str, Any]] = {
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


@pytest.mark.parametrize("odd", ODD)
async def test_what_is_odd_is_answered_by_the_documented_route(ways: Ways, stage: Stage, odd: str) -> None:
    if odd == "retired tool":
        await list_tool(ways.both, stage.catalogue_key, "gone")
        await retire_tool(ways.both, stage.catalogue_key, "gone")
        ways.long = 0
    sent = {**ODD[odd]}
    sent["headers"] = {"content-type": "application/json", **stage.vote_key} | sent.get("headers", {})
    one = await ways.both.post("/v1/votes", **sent)
    other = await ways.long_only.post("/v1/votes", **sent)
    assert ways.long == 1
    assert (one.status_code, one.headers["content-type"]) == (
        other.status_code,
        other.headers["content-type"],
    )
    if one.status_code != 200:
        assert one.json() == other.json()


async def test_both_ways_answer_a_ballots_whole_life_alike(ways: Ways, stage: Stage) -> None:
    """First, again, changed, resent, too late: the same answers, but for ids and places."""
    early, late = str(mint()), str(mint())
    steps = [
        {"id": early},
        {"choice": "ship"},
        {"choice": "skip", "id": late},
        {"choice": "skip", "id": late},
    ]
    lives = []
    for client in (ways.both, ways.long_only):
        voter = f"life {uuid4()}"
        answers = [
            await client.post("/v1/votes", **plain(stage, voter=voter, **step))
            for step in [*steps, {"id": early}]
        ]
        lives.append([(a.status_code, {**a.json(), "id": 0, "position": 0}, shape(a)) for a in answers])
    assert lives[0] == lives[1]
    assert ways.long == 0


def shape(answer: httpx.Response) -> dict[str, str]:
    return {name: "" if name == "content-length" else value for name, value in answer.headers.items()}


async def test_a_cross_site_page_cannot_take_it(ways: Ways) -> None:
    vote = {"tool": "quill", "choice": "ship"}
    await ways.both.post("/v1/votes", json=vote)
    for headers in ({"Origin": "https://evil.test"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert (await ways.both.post("/v1/votes", json=vote, headers=headers)).status_code == 403


async def test_the_short_way_counts_in_the_metrics_of_every_route(ways: Ways, stage: Stage) -> None:
    def counted(text: str) -> float:
        lines = (line for line in text.splitlines() if line.startswith("shiplog_requests_total{"))
        return sum(float(line.split()[-1]) for line in lines if 'path="/v1/votes",status_code="200"' in line)

    before = counted((await ways.both.get("/metrics")).text)
    await ways.both.post("/v1/votes", **plain(stage))
    await ways.long_only.post("/v1/votes", **plain(stage))
    assert counted((await ways.both.get("/metrics")).text) == before + 2


@pytest.mark.parametrize(
    ("error", "kind"), [(Overloaded(), "try-again"), (CommitUnknown("cut"), "unsettled")]
)
async def test_a_vote_that_cannot_be_taken_is_told_when_to_come_back(
    ways: Ways, stage: Stage, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
) -> None:
    def refuse(*_: object) -> None:
        raise error

    for client in (ways.both, ways.long_only):
        monkeypatch.setattr(Appenders, "append", refuse)
        answer = await client.post("/v1/votes", **plain(stage))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["type"] == f"urn:shiplog:{kind}"
    assert ways.long == 0


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
def test_what_the_short_way_reads_is_what_strict_json_reads(body: str) -> None:
    vote = _decode({"type": "http.request", "body": body.encode(), "more_body": False})
    if vote is None:
        return
    try:
        documented = decode(body.encode(), CastVote)
    except HttpRejected as error:
        pytest.fail(f"the documented route refuses what the short way took: {error}")
    assert fields(vote) == fields(documented)


def fields(vote: Any) -> list[object]:
    return [getattr(vote, name) for name in ("tool", "choice", "voter", "id")]
