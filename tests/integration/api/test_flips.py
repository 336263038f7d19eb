"""Flips over HTTP: newest first with their causes, as feeds, on a page, and of bookmarked tools."""

from __future__ import annotations

from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest

from domain.events.editorial import EditorialEvent, RulebookAdopted
from domain.rulebooks.presets import DEFAULT, PRESETS
from domain.rulebooks.rulebook import Rulebook
from eventstore.decisions import decide_editorial
from projections.flips.advance import advance_flips
from tests.support.stage import (
    AUTHOR,
    Client,
    Headers,
    Log,
    assert_problem,
    catch_up,
    list_tool,
    new_visitor,
    publish,
    seat_panel,
    vote_as,
)

ATOM = "{http://www.w3.org/2005/Atom}"


async def adopt(log: Log, book: Rulebook) -> None:
    event: EditorialEvent = RulebookAdopted(book.digest, DEFAULT.digest, "to see")
    async with log.acquire() as conn:
        await decide_editorial(conn, lambda _: [event], AUTHOR)


async def find_flips(log: Log) -> None:
    await catch_up(log)
    while await advance_flips(log) is not None:
        pass


async def items(client: Client, query: str = "") -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/verdicts/flips{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


@pytest.fixture
async def flipped(client: Client, catalogue_key: Headers, vote_key: Headers, pool: Log) -> None:
    """A take makes quill Ship and another makes pen Skip; then an adoption flips both."""
    for tool in ("quill", "pen"):
        await list_tool(client, catalogue_key, tool, name=tool.title())
    await seat_panel(pool, "builder", "skeptic")
    await publish(client, catalogue_key, "quill", "builder", 90, "ship")
    await publish(client, catalogue_key, "pen", "skeptic", 20, "skip")
    await adopt(pool, PRESETS["four-in-five"])
    await find_flips(pool)


@pytest.mark.usefixtures("flipped")
async def test_flips_are_listed_newest_first_with_their_causes(client: Client) -> None:
    found = await items(client)
    book = PRESETS["four-in-five"].digest
    assert [(each["slug"], each["before"], each["after"]) for each in found] == [
        ("pen", "Skip", "Unreviewed"),
        ("quill", "Ship", "Unreviewed"),
        ("pen", "Unreviewed", "Skip"),
        ("quill", "Unreviewed", "Ship"),
    ]
    newest, oldest = found[0], found[-1]
    assert newest["event"] == {"type": "RulebookAdopted", "reviewer": None, "rulebook": book}
    assert oldest["event"] == {"type": "TakePublished", "reviewer": "builder", "rulebook": None}
    assert (newest["rulebook"], oldest["rulebook"]) == (book, DEFAULT.digest)
    assert found[0]["position"] == found[1]["position"]
    assert newest.keys() == {"slug", "name", "before", "after", "at", "position", "event", "rulebook"}
    assert newest["at"].endswith("Z")


@pytest.mark.usefixtures("flipped")
async def test_a_page_can_end_between_two_flips_of_one_event(client: Client) -> None:
    seen, address = [], "/v1/verdicts/flips?limit=1"
    while address:
        answer = await client.get(address)
        seen += answer.json()["items"]
        address = answer.links["next"]["url"] if "next" in answer.links else ""
    assert seen == await items(client)


@pytest.mark.usefixtures("flipped")
async def test_flips_of_a_tool_and_since_a_moment(client: Client) -> None:
    newest, _, pens_first, quills_first = await items(client)
    assert [each["after"] for each in await items(client, "?tool=quill")] == ["Unreviewed", "Ship"]
    assert await items(client, f"?since={quills_first['position']}") == (await items(client))[:3]
    assert await items(client, f"?since={pens_first['at']}") == (await items(client))[:2]
    assert await items(client, f"?since={pens_first['at']}&tool=pen") == [newest]
    assert await items(client, f"?since={newest['position']}") == []


@pytest.mark.usefixtures("flipped")
async def test_a_response_has_the_position_up_to_which_flips_are_known(
    client: Client, pool: Log, catalogue_key: Headers
) -> None:
    answer = await client.get("/v1/verdicts/flips")
    head = await pool.fetchval("SELECT position FROM heads WHERE shard = 0")
    assert answer.headers["Shiplog-Position"] == f"0.{head},1.0,2.0,3.0"
    assert answer.headers["Shiplog-Lag-Ms"] == "0"
    again = await client.get("/v1/verdicts/flips", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304
    taken = await publish(client, catalogue_key, "quill", "skeptic", 80, "ship")
    await find_flips(pool)
    answer = await client.get(f"/v1/verdicts/flips?min_position={taken.json()['position']}")
    assert answer.json()["items"][0]["after"] == "Ship"


@pytest.mark.usefixtures("flipped")
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?since=yesterday", 400),
        ("?since=0.1,1.0,2.0,3.0", 400),
        ("?since=0.9999", 404),
        ("?tool=nobody", 404),
        ("?tool=No%20Slug", 400),
        ("?cursor=abc", 400),
        ("?limit=0", 400),
        ("?limit=101", 400),
        ("?min_position=here", 400),
    ],
)
async def test_invalid_queries_are_rejected(client: Client, query: str, status: int) -> None:
    assert_problem(await client.get(f"/v1/verdicts/flips{query}"), status)


@pytest.mark.usefixtures("flipped")
async def test_the_atom_feed_conforms_to_rfc_4287(client: Client) -> None:
    answer = await client.get("/v1/verdicts/flips.atom")
    assert answer.headers["content-type"] == "application/atom+xml; charset=utf-8"
    feed = ET.fromstring(answer.content)
    assert feed.tag == f"{ATOM}feed"
    links = {link.get("rel"): link.get("href") for link in feed.findall(f"{ATOM}link")}
    assert links == {
        "self": "/v1/verdicts/flips.atom",
        "alternate": "/flips",
    }
    entries = feed.findall(f"{ATOM}entry")
    shown = await items(client)
    assert [entry.findtext(f"{ATOM}updated") for entry in entries] == [each["at"] for each in shown]
    assert feed.findtext(f"{ATOM}updated") == shown[0]["at"]
    assert feed.findtext(f"{ATOM}author/{ATOM}name") == "Shiplog"
    ids = [entry.findtext(f"{ATOM}id") or "" for entry in entries]
    assert len({UUID(each.removeprefix("urn:uuid:")) for each in ids}) == len(ids) == 4
    for entry in entries:
        assert entry.findtext(f"{ATOM}title")
        assert entry.findtext(f"{ATOM}content")
        assert entry.find(f"{ATOM}link").get("href") in (  # type: ignore[union-attr]
            "/tools/quill",
            "/tools/pen",
        )
    assert [entry.findtext(f"{ATOM}title") for entry in entries][:2] == [
        "Pen: Skip → Unreviewed",
        "Quill: Ship → Unreviewed",
    ]


@pytest.mark.usefixtures("flipped")
async def test_the_json_feed_conforms_to_version_1_1(client: Client) -> None:
    answer = await client.get("/v1/verdicts/flips.json?tool=quill")
    assert answer.headers["content-type"] == "application/feed+json"
    feed = answer.json()
    assert feed["version"] == "https://jsonfeed.org/version/1.1"
    assert feed["feed_url"] == "/v1/verdicts/flips.json?tool=quill"
    assert feed["home_page_url"] == "/flips"
    assert [each["_shiplog"] for each in feed["items"]] == await items(client, "?tool=quill")
    for each in feed["items"]:
        assert each.keys() == {"id", "url", "title", "content_text", "date_published", "_shiplog"}
        assert each["url"] == "/tools/quill"
    assert "builder published a take" in feed["items"][-1]["content_text"]


async def test_feeds_without_flips_are_valid(client: Client) -> None:
    feed = ET.fromstring((await client.get("/v1/verdicts/flips.atom")).content)
    assert feed.findtext(f"{ATOM}updated") == "1970-01-01T00:00:00Z"
    assert (await client.get("/v1/verdicts/flips.json")).json()["items"] == []
    assert "No verdict has changed yet" in (await client.get("/flips")).text


@pytest.mark.usefixtures("flipped")
@pytest.mark.parametrize("kind", ["atom", "json"])
async def test_an_unchanged_feed_is_not_sent_again(
    client: Client, pool: Log, catalogue_key: Headers, kind: str
) -> None:
    address = f"/v1/verdicts/flips.{kind}"
    tag = (await client.get(address)).headers["ETag"]
    assert (await client.get(address, headers={"If-None-Match": tag})).status_code == 304
    await publish(client, catalogue_key, "quill", "skeptic", 80, "ship")
    await find_flips(pool)
    assert (await client.get(address, headers={"If-None-Match": tag})).status_code == 200


async def test_names_are_escaped_in_feeds_and_on_the_page(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    await list_tool(client, catalogue_key, name="<b>&amp; \ufffe Ink")
    await seat_panel(pool, "builder")
    await publish(client, catalogue_key, "quill", "builder", 90, "ship")
    await find_flips(pool)
    feed = ET.fromstring((await client.get("/v1/verdicts/flips.atom")).content)
    assert feed.findtext(f"{ATOM}entry/{ATOM}title") == "<b>&amp; \ufffd Ink: Unreviewed → Ship"
    assert "&lt;b&gt;&amp;amp;" in (await client.get("/flips")).text


@pytest.mark.usefixtures("flipped")
async def test_pages_link_the_feeds_and_the_page_of_flips_lists_each_flip(client: Client) -> None:
    page = (await client.get("/flips")).text
    assert page.count('<a href="/tools/quill">') == 2
    assert "builder published a take" in page
    assert "The rulebook four-in-five was adopted" in page
    for kind in ("atom+xml", "feed+json"):
        assert f'<link rel="alternate" type="application/{kind}"' in (await client.get("/")).text


async def test_a_flip_names_the_vote_that_caused_it_and_not_the_voter(
    client: Client, catalogue_key: Headers, vote_key: Headers, pool: Log
) -> None:
    await list_tool(client, catalogue_key)
    await adopt(pool, PRESETS["lower-bound"])
    for voter in range(12):
        last = await vote_as(client, vote_key, f"voter {voter}", "ship")
        assert last.status_code == 200
    await find_flips(pool)
    (flip,) = await items(client)
    assert (flip["before"], flip["after"]) == ("Unreviewed", "Ship")
    assert flip["event"] == {"type": "VoteCast", "reviewer": None, "rulebook": None}
    assert flip["position"] != last.json()["position"], "the tenth vote flips it"
    actor = await pool.fetchval(
        "SELECT actor FROM events WHERE shard || '.' || position = $1", flip["position"]
    )
    for address in ("/v1/verdicts/flips", "/v1/verdicts/flips.atom", "/v1/verdicts/flips.json", "/flips"):
        assert str(actor) not in (await client.get(address)).text


async def changes(client: Client) -> list[dict[str, Any]]:
    answer = await client.get("/v1/me/bookmarks/changes")
    assert answer.status_code == 200
    assert "no-store" in answer.headers["cache-control"]
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_bookmarked_tools_are_listed_with_their_flips_since_they_were_saved(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    for tool in ("quill", "pen", "ink"):
        await list_tool(client, catalogue_key, tool, name=tool.title())
    await seat_panel(pool, "builder", "skeptic")
    await publish(client, catalogue_key, "quill", "builder", 90, "ship")
    await catch_up(pool)
    assert await changes(client) == []
    for tool in ("quill", "pen", "ink"):
        await client.put(f"/v1/me/bookmarks/{tool}")
    await publish(client, catalogue_key, "pen", "builder", 30, "skip")
    await publish(client, catalogue_key, "quill", "builder", 40, "skip")
    await find_flips(pool)
    quill, pen = await changes(client)
    assert quill.keys() == {"tool", "saved_at", "before", "after", "flips"}
    assert (quill["tool"]["slug"], quill["before"], quill["after"]) == ("quill", "Ship", "Skip")
    assert (pen["tool"]["slug"], pen["before"], pen["after"]) == ("pen", "Unreviewed", "Skip")
    assert [each["event"]["reviewer"] for each in quill["flips"]] == ["builder"]
    assert quill["flips"][0] == (await items(client))[0]
    await client.delete("/v1/me/bookmarks/quill")
    assert [each["tool"]["slug"] for each in await changes(client)] == ["pen"]
    assert await changes(new_visitor(client)) == []
