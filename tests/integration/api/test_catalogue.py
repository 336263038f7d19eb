"""The catalogue over HTTP: tools are listed, revised under If-Match, retired, and read as cards."""

from __future__ import annotations

import re

from tests.support.stage import (
    TOOL,
    Client,
    Headers,
    Log,
    assert_problem,
    catch_up,
    count_events,
    list_tool,
    publish,
    retire_tool,
    seat_panel,
    vote_as,
)

_TALLY = {"ship", "skip", "total", "share", "interval", "preliminary"}


async def test_a_tool_is_listed_then_revised(client: Client, catalogue_key: Headers) -> None:
    listed = await list_tool(client, catalogue_key)
    assert (listed.status_code, listed.headers["etag"]) == (201, '"1"')
    assert listed.json() == {"slug": "quill", "revision": 1, "position": "0.1"}
    revised = await list_tool(client, catalogue_key, tagline="Writes well.")
    assert (revised.status_code, revised.headers["etag"]) == (200, '"2"')
    assert revised.json() == {"slug": "quill", "revision": 2, "position": "0.2"}


async def test_the_same_again_changes_nothing(client: Client, catalogue_key: Headers, pool: Log) -> None:
    await list_tool(client, catalogue_key)
    again = await list_tool(client, catalogue_key)
    assert again.json() == {"slug": "quill", "revision": 1, "position": None}
    assert await count_events(pool) == 1


async def test_if_match_rejects_an_outdated_revision(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    async def put(if_match: str, name: str) -> int:
        headers = {**catalogue_key, "If-Match": if_match}
        return (await client.put("/v1/tools/quill", json=TOOL | {"name": name}, headers=headers)).status_code

    await list_tool(client, catalogue_key)
    assert [await put('"1"', "Quill 2"), await put('"1"', "Quill 3"), await put('W/"2"', "Quill 3")] == [
        200,
        412,
        200,
    ]
    assert [await put("*", "Quill 4"), await put("0", "Quill 5")] == [200, 412]
    stale = await client.put("/v1/tools/quill", json=TOOL, headers={**catalogue_key, "If-Match": '"1"'})
    assert_problem(stale, 412)
    assert stale.json()["type"] == "urn:shiplog:revision-moved"
    assert await count_events(pool) == 4


async def test_if_match_also_guards_a_retirement(client: Client, catalogue_key: Headers) -> None:
    await list_tool(client, catalogue_key)
    stale = await client.post("/v1/tools/quill/retire", headers={**catalogue_key, "If-Match": '"7"'})
    assert_problem(stale, 412)


async def test_a_retired_tool_keeps_its_page_and_accepts_no_revision(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    await list_tool(client, catalogue_key)
    await retire_tool(client, catalogue_key)
    await retire_tool(client, catalogue_key)
    await catch_up(pool)
    assert (await client.get("/v1/tools/quill")).json()["retired_at"].endswith("Z")
    assert (await client.get("/v1/tools")).json()["items"] == []
    assert_problem(await client.put("/v1/tools/quill", json=TOOL | {"name": "X"}, headers=catalogue_key), 410)
    assert await count_events(pool) == 2


async def test_an_unknown_tool_cannot_be_retired_or_read(client: Client, catalogue_key: Headers) -> None:
    assert_problem(await client.post("/v1/tools/pen/retire", headers=catalogue_key), 404)
    assert_problem(await client.get("/v1/tools/pen"), 404)


async def test_a_tool_that_is_not_folded_yet_is_a_503(client: Client, catalogue_key: Headers) -> None:
    await list_tool(client, catalogue_key)
    early = await client.get("/v1/tools/quill")
    assert_problem(early, 503)
    assert early.headers["retry-after"] == "1"


async def test_a_category_can_be_named_by_a_slug_in_use(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    await list_tool(client, catalogue_key, category={"slug": "dev-tools", "name": "DevTools"})
    await catch_up(pool)
    await list_tool(client, catalogue_key, "pen", category="dev-tools")
    await list_tool(client, catalogue_key, "ink", category="new-things")
    await catch_up(pool)
    cards = (await client.get("/v1/tools", params={"sort": "new"})).json()["items"]
    assert [card["category"]["name"] for card in cards] == ["New Things", "DevTools", "DevTools"]


async def test_a_card_has_exactly_these_fields(
    client: Client, catalogue_key: Headers, vote_key: Headers, pool: Log
) -> None:
    await list_tool(client, catalogue_key)
    await seat_panel(pool, "builder", "skeptic")
    await publish(client, catalogue_key, "quill", "builder", 80, "ship", "It holds.")
    await vote_as(client, vote_key, "ada", "ship")
    await catch_up(pool)
    card = (await client.get("/v1/tools/quill")).json()

    assert list(card) == [
        *("slug", "name", "initial", "tagline", "best_for", "description", "category", "url", "pricing"),
        *("scorecard", "tally", "verdict", "bookmarks", "retired_at", "revision"),
    ]
    assert (card["initial"], card["bookmarks"], card["retired_at"], card["revision"]) == ("Q", 0, None, 1)
    assert (card["category"], card["pricing"]) == (TOOL["category"], TOOL["pricing"])
    builder, skeptic = card["scorecard"]
    assert builder["reviewer"] == {"slug": "builder", "name": "Builder"}
    assert builder["take"].keys() == {"score", "choice", "text", "published_at", "revision"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", builder["take"]["published_at"])
    assert skeptic == {"reviewer": {"slug": "skeptic", "name": "Skeptic"}, "take": None}
    assert card["tally"].keys() == _TALLY
    assert card["verdict"].keys() == {
        *("label", "decided", "panel", "community", "shares", "distance", "margin", "explanation"),
        *("rulebook", "position", "inputs"),
    }
    assert card["verdict"]["panel"] == {"ship": 1, "skip": 0, "share": "1.0000", "mean_score": "80.0"}
    assert card["verdict"]["community"] == card["tally"]


async def test_a_list_can_be_limited_to_a_category(client: Client, catalogue_key: Headers, pool: Log) -> None:
    await list_tool(client, catalogue_key)
    await list_tool(client, catalogue_key, "pump", category={"slug": "plumbing", "name": "Plumbing"})
    await catch_up(pool)
    assert await slugs(client, category="plumbing") == ["pump"]
    assert await slugs(client, category="nothing") == []


async def slugs(client: Client, **params: str) -> list[str]:
    answer = await client.get("/v1/tools", params=params)
    assert answer.status_code == 200, answer.text
    return [card["slug"] for card in answer.json()["items"]]


async def test_if_match_of_any_revision_lists_and_seats_nothing_new(
    client: Client, catalogue_key: Headers
) -> None:
    headers = {**catalogue_key, "If-Match": "*"}
    for path, body in (("/v1/tools/unlisted", TOOL), ("/v1/reviewers/unseated", {"name": "Nobody"})):
        assert_problem(await client.put(path, json=body, headers=headers), 412, "revision-moved")
        assert (await client.get(path)).status_code == 404
        assert (await client.put(path, json=body, headers=catalogue_key)).status_code == 201
        assert (await client.put(path, json=body, headers=headers)).status_code == 200


async def test_text_that_only_names_a_control_character_is_stored(
    client: Client, catalogue_key: Headers
) -> None:
    body = TOOL | {"description": "\\u0085 breaks a line"}
    assert (await client.put("/v1/tools/quill", json=body, headers=catalogue_key)).status_code == 201
