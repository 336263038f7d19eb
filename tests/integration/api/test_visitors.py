"""Visitors: one identity for a browser, whatever order its first writes arrive in, as long as it comes back within a year."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie

import httpx
import pytest

from services.auth.identity import RENEWAL_SECONDS, VISITOR_COOKIE, Identity
from tests.support.stage import Client, Stage, list_tool, new_visitor, vote

CLAIM = "Shiplog-Visitor-Claim"
YEAR_SECONDS = 365 * 24 * 3600


@pytest.fixture
async def visitor(stage: Stage) -> AsyncIterator[Client]:
    async with new_visitor(stage.client) as client:
        yield client


@pytest.fixture
def identity(stage: Stage) -> Identity:
    return Identity(stage.settings, stage.log)


def random_claim() -> str:
    return secrets.token_urlsafe(32)


def sent_cookie(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return SimpleCookie(answer.headers["set-cookie"])[VISITOR_COOKIE].value


def with_cookie(value: str) -> dict[str, str]:
    return {"Cookie": f"{VISITOR_COOKIE}={value}"}


def cookie_of_age(identity: Identity, seconds: int) -> str:
    issued = int(time.time()) - seconds
    return identity._signed(secrets.token_bytes(16) + issued.to_bytes(4, "big"))


async def votes_of(client: Client, **headers: str) -> dict[str, str]:
    answer = await client.get("/v1/me/votes", headers=headers)
    return {each["tool"]: each["choice"] for each in answer.json()["items"]}


async def test_first_writes_in_flight_with_one_claim_are_one_visitor(visitor: Client, stage: Stage) -> None:
    for slug in ("left", "right"):
        await list_tool(stage.client, stage.catalogue_key, slug)
    headers = {CLAIM: random_claim()}
    answers = await asyncio.gather(
        visitor.post("/v1/votes", json={"tool": "left", "choice": "ship"}, headers=headers),
        visitor.post("/v1/votes", json={"tool": "right", "choice": "skip"}, headers=headers),
        visitor.post("/v1/votes", json={"tool": "left", "choice": "ship"}, headers=headers),
        visitor.put("/v1/me/bookmarks/left", headers=headers),
    )
    ballots = {"left": "ship", "right": "skip"}
    for answer in answers:
        cookie = with_cookie(sent_cookie(answer))
        assert await votes_of(visitor, **cookie) == ballots
        saved = (await visitor.get("/v1/me/bookmarks", headers=cookie)).json()["items"]
        assert [each["tool"]["slug"] for each in saved] in (["left"], [])  # the catalogue may be behind
    counted = [answer.json()["outcome"] for answer in answers[:3]]
    assert sorted(counted) == ["counted", "counted", "unchanged"]


async def test_a_page_loaded_before_the_answer_came_shows_the_vote(visitor: Client) -> None:
    """The claim is sent with reads too, and their answer sets the cookie that was lost with the answer to the write."""
    headers = {CLAIM: random_claim()}
    await visitor.post("/v1/votes", json={"tool": "quill", "choice": "ship"}, headers=headers)
    visitor.cookies.clear()
    read = await visitor.get("/v1/me/votes", headers=headers)
    assert [each["tool"] for each in read.json()["items"]] == ["quill"]
    assert read.headers["cache-control"] == "private, no-store"
    assert await votes_of(visitor, **with_cookie(sent_cookie(read))) == {"quill": "ship"}


async def test_the_cookie_comes_before_a_claim(visitor: Client) -> None:
    await vote(visitor)
    changed = await visitor.post(
        "/v1/votes", json={"tool": "quill", "choice": "skip"}, headers={CLAIM: random_claim()}
    )
    assert changed.json()["replaced"] == "ship"
    assert "set-cookie" not in changed.headers


async def test_reading_alone_makes_no_visitor(visitor: Client) -> None:
    for path in ("/", "/tools/quill", "/v1/me/votes", "/v1/me/bookmarks", "/v1/me/bookmarks/changes"):
        assert "set-cookie" not in (await visitor.get(path)).headers


async def test_a_claim_gives_no_way_to_another_visitor(identity: Identity) -> None:
    """Not by what a cookie, a pseudonym or another claim says; and it has to be as long as a key."""
    claim = random_claim()
    cookie = identity.claimed_visitor(claim)
    assert cookie is not None
    victim = identity.visitor(cookie)
    guesses = [
        cookie.partition(".")[0],
        cookie.partition(".")[2],
        claim[:-1] + ("B" if claim[-1] == "A" else "A"),
    ]
    guesses += [
        claim[:-1],
        claim + "A",
        "",
        claim.lower(),
        str(victim),
        base64.urlsafe_b64encode(claim.encode()).decode(),
    ]
    for guess in guesses:
        other = identity.claimed_visitor(guess)
        assert other is None or identity.visitor(other) != victim


@pytest.mark.parametrize("claim", ["", "x", "A" * 42, "A" * 44, "A" * 42 + "=", "é" * 43, "A" * 10_000])
async def test_a_malformed_claim_counts_as_none(visitor: Client, claim: str) -> None:
    headers = {CLAIM: claim.encode("latin-1")}
    seen = set()
    for _ in range(2):
        visitor.cookies.clear()
        body = {"tool": "quill", "choice": "ship"}
        seen.add(sent_cookie(await visitor.post("/v1/votes", json=body, headers=headers)).partition(".")[0])
    assert len(seen) == 2


async def test_an_api_key_is_not_a_visitor(stage: Stage) -> None:
    headers = {**stage.vote_key, CLAIM: random_claim()}
    body = {"tool": "quill", "choice": "ship", "voter": "ada"}
    assert "set-cookie" not in (await stage.client.post("/v1/votes", json=body, headers=headers)).headers


REQUESTS = [
    ("POST", "/v1/votes", {"tool": "quill", "choice": "ship"}),
    ("DELETE", "/v1/votes/quill", None),
    ("PUT", "/v1/me/bookmarks/quill", None),
    ("DELETE", "/v1/me/bookmarks/quill", None),
    ("GET", "/v1/me/votes", None),
    ("GET", "/v1/me/bookmarks", None),
    ("GET", "/v1/me/bookmarks/changes", None),
]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
async def test_a_used_cookie_is_renewed_when_it_is_a_day_old(
    visitor: Client, identity: Identity, method: str, path: str, body: object
) -> None:
    """The first of these requests is answered by the fast path."""
    for age, renewed in (
        (RENEWAL_SECONDS - 600, False),
        (RENEWAL_SECONDS, True),
        (3 * YEAR_SECONDS, True),
    ):
        old = cookie_of_age(identity, age)
        answer = await visitor.request(method, path, json=body, headers=with_cookie(old))
        assert ("set-cookie" in answer.headers) is renewed
        if renewed:
            assert identity.visitor(sent_cookie(answer)) == identity.visitor(old)
            morsel = SimpleCookie(answer.headers["set-cookie"])[VISITOR_COOKIE]
            assert int(morsel["max-age"]) == YEAR_SECONDS
            assert morsel["httponly"]


async def test_a_cookie_of_an_earlier_release_is_renewed_and_keeps_its_votes(
    visitor: Client, identity: Identity
) -> None:
    """It carries no time."""
    old = identity._signed(secrets.token_bytes(16))
    first = await visitor.post(
        "/v1/votes", json={"tool": "quill", "choice": "skip"}, headers=with_cookie(old)
    )
    new = sent_cookie(first)
    assert new != old
    assert (
        await votes_of(visitor, **with_cookie(new))
        == await votes_of(visitor, **with_cookie(old))
        == {"quill": "skip"}
    )
    again = await visitor.post(
        "/v1/votes", json={"tool": "quill", "choice": "ship"}, headers=with_cookie(new)
    )
    assert again.json()["replaced"] == "skip"
    assert "set-cookie" not in again.headers


async def test_a_forged_time_is_not_accepted(identity: Identity) -> None:
    raw, _, signature = identity.mint_visitor().partition(".")
    visitor = base64.urlsafe_b64decode(raw + "==")[:16]
    dated = base64.urlsafe_b64encode(visitor + b"\xff\xff\xff\xff").rstrip(b"=").decode()
    undated = base64.urlsafe_b64encode(visitor).rstrip(b"=").decode()
    assert [identity.visitor(f"{each}.{signature}") for each in (dated, undated)] == [None, None]
