"""Votes over HTTP: the answer to each cast, and one ballot per tool for each visitor and each voter."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from eventstore.ids import mint
from services.auth.identity import VISITOR_COOKIE
from tests.support.stage import (
    Client,
    Headers,
    Log,
    assert_problem,
    count_events,
    list_tool,
    new_visitor,
    retire_tool,
    vote,
    vote_as,
)

pytestmark = pytest.mark.usefixtures("quill")


def outcome_of(answer: httpx.Response) -> tuple[str, str | None, str | None]:
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.keys() == {"outcome", "position", "id", "choice", "replaced"}
    return body["outcome"], body["choice"], body["replaced"]


async def test_a_first_vote_is_stored_at_the_position_in_its_answer(client: Client, pool: Log) -> None:
    answer = await vote(client, choice="ship")
    assert outcome_of(answer) == ("counted", "ship", None)
    stored = await pool.fetchrow("SELECT shard, position, id, choice FROM events WHERE type = 'VoteCast'")
    assert stored is not None
    assert answer.json()["position"] == f"{stored['shard']}.{stored['position']}"
    assert (answer.json()["id"], stored["choice"]) == (str(stored["id"]), "ship")


async def test_a_changed_vote_names_the_choice_it_replaced(client: Client) -> None:
    await vote(client, choice="ship")
    assert outcome_of(await vote(client, choice="skip")) == ("counted", "skip", "ship")


async def test_the_same_choice_again_is_unchanged_at_the_first_position(client: Client, pool: Log) -> None:
    first = await vote(client)
    before = await count_events(pool)
    again = await vote(client)
    assert outcome_of(again) == ("unchanged", "ship", None)
    assert again.json()["position"] == first.json()["position"]
    assert await count_events(pool) == before


async def test_a_vote_sent_again_under_its_id_gets_the_first_answer(client: Client, pool: Log) -> None:
    await vote(client, choice="skip")
    sent = str(mint())
    first = await vote(client, id=sent)
    before = await count_events(pool)
    assert (await vote(client, id=sent)).json() == first.json()
    assert await count_events(pool) == before


@pytest.mark.parametrize("as_program", [False, True])
async def test_one_id_with_another_body_is_409_and_nothing_is_stored(
    client: Client, pool: Log, vote_key: Headers, catalogue_key: Headers, as_program: bool
) -> None:
    """Visitors' first votes take the router, programs' votes the fast path."""
    await list_tool(client, catalogue_key, "other")
    named, headers = ({"voter": "v1"}, vote_key) if as_program else ({}, {})
    suffix = "?voter=v1&" if as_program else "?"

    async def cast(tool: str, choice: str, **more: str) -> httpx.Response:
        body = {"tool": tool, "choice": choice, "id": sent, **named, **more}
        return await client.post("/v1/votes", json=body, headers=headers)

    await client.post("/v1/votes", json={"tool": "quill", "choice": "skip", **named}, headers=headers)
    sent = str(mint())
    first = await cast("quill", "ship")
    before = await count_events(pool)
    assert_problem(await cast("quill", "skip"), 409, "id-conflict")
    assert_problem(await cast("other", "ship"), 409, "id-conflict")
    if as_program:
        assert_problem(await cast("quill", "ship", voter="v2"), 409, "id-conflict")
    for tool in ("quill", "other"):
        retraction = await client.delete(f"/v1/votes/{tool}{suffix}id={sent}", headers=headers)
        assert_problem(retraction, 409, "id-conflict")
    assert await count_events(pool) == before
    assert (await cast("quill", "ship")).json() == first.json()


@pytest.mark.parametrize("as_program", [False, True])
async def test_an_older_id_with_another_choice_is_409_after_a_retraction(
    client: Client, pool: Log, vote_key: Headers, as_program: bool
) -> None:
    named, headers = ({"voter": "v1"}, vote_key) if as_program else ({}, {})
    body = {"tool": "quill", "choice": "ship", "id": str(mint()), **named}
    await client.post("/v1/votes", json=body, headers=headers)
    await client.delete("/v1/votes/quill", params=named, headers=headers)
    before = await count_events(pool)
    assert_problem(
        await client.post("/v1/votes", json=body | {"choice": "skip"}, headers=headers), 409, "id-conflict"
    )
    assert outcome_of(await client.post("/v1/votes", json=body, headers=headers)) == (
        "superseded",
        None,
        None,
    )
    assert await count_events(pool) == before


async def test_a_retractions_id_cannot_become_a_vote(client: Client, pool: Log) -> None:
    await vote(client)
    sent = str(mint())
    first = await client.delete(f"/v1/votes/quill?id={sent}")
    before = await count_events(pool)
    assert_problem(await vote(client, id=sent), 409, "id-conflict")
    assert await count_events(pool) == before
    assert (await client.delete(f"/v1/votes/quill?id={sent}")).json() == first.json()


async def test_an_older_id_is_superseded_by_the_newer_vote(client: Client) -> None:
    older, newer = str(mint()), str(mint())
    counted = await vote(client, choice="skip", id=newer)
    late = await vote(client, choice="ship", id=older)
    assert outcome_of(late) == ("superseded", "skip", None)
    assert (late.json()["id"], late.json()["position"]) == (newer, counted.json()["position"])


async def test_a_retracted_vote_is_no_longer_listed(client: Client) -> None:
    await vote(client)
    assert outcome_of(await client.delete("/v1/votes/quill")) == ("retracted", None, "ship")
    assert outcome_of(await client.delete("/v1/votes/quill")) == ("unchanged", None, None)
    assert (await client.get("/v1/me/votes")).json()["items"] == []


async def test_a_vote_with_an_older_id_does_not_undo_a_retraction(client: Client) -> None:
    early = str(mint())
    await vote(client)
    await client.delete("/v1/votes/quill")
    assert outcome_of(await vote(client, id=early)) == ("superseded", None, None)


async def test_a_vote_after_a_retraction_counts_again(client: Client) -> None:
    await vote(client)
    await client.delete("/v1/votes/quill")
    assert outcome_of(await vote(client)) == ("counted", "ship", None)


async def test_the_first_vote_sets_a_cookie_and_later_ones_do_not(client: Client) -> None:
    first = await vote(client)
    cookie = first.headers["set-cookie"].lower()
    assert cookie.startswith(f"{VISITOR_COOKIE}=")
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie  # over http the browser would not send it back
    assert "set-cookie" not in (await vote(client, choice="skip")).headers


async def test_over_https_the_cookie_is_secure(client: Client) -> None:
    answer = await client.post("https://shiplog.test/v1/votes", json={"tool": "quill", "choice": "ship"})
    assert "secure" in answer.headers["set-cookie"].lower()


async def test_own_votes_are_listed_for_their_visitor_only(client: Client, catalogue_key: Headers) -> None:
    await list_tool(client, catalogue_key, "pen")
    cast = await vote(client, "pen", "skip")
    own = (await client.get("/v1/me/votes")).json()
    assert own == {
        "items": [{"tool": "pen", "choice": "skip", "position": cast.json()["position"]}],
        "next": None,
    }
    client.cookies.clear()
    assert (await client.get("/v1/me/votes")).json()["items"] == []


async def test_own_votes_can_be_listed_for_some_tools(client: Client, catalogue_key: Headers) -> None:
    await list_tool(client, catalogue_key, "pen")
    await vote(client, "pen")
    await vote(client, "quill")
    own = (await client.get("/v1/me/votes", params={"tools": "quill"})).json()["items"]
    assert [each["tool"] for each in own] == ["quill"]


async def test_own_votes_are_not_cached(client: Client) -> None:
    assert "no-store" in (await client.get("/v1/me/votes")).headers["cache-control"]


async def test_a_vote_on_a_retired_tool_is_rejected(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    await retire_tool(client, catalogue_key)
    before = await count_events(pool)
    assert_problem(await vote(client), 410)
    assert_problem(await client.delete("/v1/votes/quill"), 410)
    assert await count_events(pool) == before


async def test_a_vote_on_an_unknown_tool_is_rejected(client: Client) -> None:
    assert_problem(await vote(client, "pen"), 404)
    assert_problem(await client.delete("/v1/votes/pen"), 404)
    assert_problem(await vote(client, "pen"), 404)


async def test_a_rejected_vote_sets_no_cookie(client: Client) -> None:
    assert "set-cookie" not in (await vote(client, "pen")).headers


async def test_a_client_with_an_api_key_votes_for_its_voters(client: Client, vote_key: Headers) -> None:
    assert outcome_of(await vote_as(client, vote_key, "ada", "ship")) == ("counted", "ship", None)
    assert outcome_of(await vote_as(client, vote_key, "grace", "ship")) == ("counted", "ship", None)
    assert outcome_of(await vote_as(client, vote_key, "ada", "skip")) == ("counted", "skip", "ship")
    retracted = await client.delete("/v1/votes/quill", params={"voter": "ada"}, headers=vote_key)
    assert outcome_of(retracted) == ("retracted", None, "skip")


async def test_a_program_gets_no_cookie(client: Client, vote_key: Headers) -> None:
    assert "set-cookie" not in (await vote_as(client, vote_key, "ada", "ship")).headers


async def test_a_voters_name_is_nowhere_in_the_log(client: Client, vote_key: Headers, pool: Log) -> None:
    await vote_as(client, vote_key, "ada.lovelace@example.org", "ship")
    rows = await pool.fetch("SELECT events::text FROM events UNION ALL SELECT standings::text FROM standings")
    assert rows
    assert not [row for row in rows if "lovelace" in row[0]]


@pytest.mark.parametrize("voter", [None, "", "x" * 129, "é" * 65, "a\0b"])
async def test_a_client_with_an_api_key_must_name_a_voter(
    client: Client, vote_key: Headers, voter: str | None, pool: Log
) -> None:
    before = await count_events(pool)
    body = {"tool": "quill", "choice": "ship", "voter": voter}
    assert_problem(await client.post("/v1/votes", json=body, headers=vote_key), 400)
    assert await count_events(pool) == before


@pytest.mark.parametrize("voter", ["x", "x" * 128, "é" * 64, "💥" * 32])
async def test_a_voters_name_can_have_128_bytes(client: Client, vote_key: Headers, voter: str) -> None:
    assert outcome_of(await vote_as(client, vote_key, voter, "ship")) == ("counted", "ship", None)


async def test_a_visitor_cannot_name_a_voter(client: Client) -> None:
    assert_problem(await vote(client, voter="ada"), 403)


async def test_the_id_of_another_voters_vote_affects_only_ones_own(client: Client, vote_key: Headers) -> None:
    theirs = (await vote_as(client, vote_key, "ada", "ship")).json()
    assert outcome_of(await vote(client, choice="skip", id=theirs["id"])) == ("counted", "skip", None)
    assert outcome_of(await vote_as(client, vote_key, "ada", "ship")) == ("unchanged", "ship", None)


async def test_concurrent_first_votes_without_a_cookie_are_of_different_visitors(
    client: Client, pool: Log
) -> None:
    fresh = [new_visitor(client) for _ in range(20)]
    answers = await asyncio.gather(*(vote(each) for each in fresh))
    assert [outcome_of(answer) for answer in answers] == [("counted", "ship", None)] * 20
    assert len({answer.headers["set-cookie"] for answer in answers}) == 20
    assert await pool.fetchval("SELECT count(*) FROM standings WHERE choice = 'ship'") == 20


async def test_concurrent_votes_of_one_voter_are_one_ballot(
    client: Client, vote_key: Headers, pool: Log
) -> None:
    choices = ["ship", "skip"] * 10
    answers = await asyncio.gather(
        *(vote_as(new_visitor(client), vote_key, "ada", choice) for choice in choices)
    )
    assert {answer.status_code for answer in answers} == {200}
    (standing,) = await pool.fetch("SELECT choice, position FROM standings WHERE choice IS NOT NULL")
    last = await pool.fetchrow(
        "SELECT choice, position FROM events WHERE type = 'VoteCast' ORDER BY position DESC"
    )
    assert standing == last
