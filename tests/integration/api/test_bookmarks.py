"""Bookmarks over HTTP: a private shelf, newest first; notes are never written to the log."""

from __future__ import annotations

import pytest

from tests.support.stage import (
    Client,
    Headers,
    Log,
    assert_problem,
    catch_up,
    list_tool,
    new_visitor,
    vote,
)

pytestmark = pytest.mark.usefixtures("quill")


async def shelf(client: Client) -> list[dict[str, object]]:
    answer = await client.get("/v1/me/bookmarks")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, object]] = answer.json()["items"]
    return items


async def test_a_tool_is_saved_once_and_dropped_once(client: Client) -> None:
    saved = await client.put("/v1/me/bookmarks/quill")
    assert saved.json()["outcome"] == "saved"
    assert (await client.put("/v1/me/bookmarks/quill")).json() == saved.json() | {"outcome": "unchanged"}
    dropped = await client.delete("/v1/me/bookmarks/quill")
    assert dropped.json()["outcome"] == "dropped"
    assert (await client.delete("/v1/me/bookmarks/quill")).json()["outcome"] == "unchanged"


async def test_the_shelf_is_newest_first(client: Client, catalogue_key: Headers, pool: Log) -> None:
    await list_tool(client, catalogue_key, "pen")
    await catch_up(pool)
    for tool in ("quill", "pen"):
        await client.put(f"/v1/me/bookmarks/{tool}", json={"note": f"on {tool}", "tags": ["one", "two"]})
    newest, oldest = await shelf(client)
    assert newest.keys() == {"tool", "saved_at", "note", "tags", "position"}
    assert newest["tool"] == {
        "slug": "pen",
        "name": "Quill",
        "category": {"slug": "writing", "name": "Writing"},
        "verdict_label": "Unreviewed",
    }
    assert (newest["note"], newest["tags"]) == ("on pen", ["one", "two"])
    assert oldest["note"] == "on quill"
    assert str(newest["saved_at"]).endswith("Z")


async def test_a_shelf_is_private_to_its_owner(client: Client, pool: Log) -> None:
    await catch_up(pool)
    await client.put("/v1/me/bookmarks/quill", json={"note": "mine"})
    somebody = new_visitor(client)
    assert await shelf(somebody) == []
    await somebody.put("/v1/me/bookmarks/quill", json={"note": "theirs"})
    await somebody.delete("/v1/me/bookmarks/quill")
    assert [each["note"] for each in await shelf(client)] == ["mine"]
    assert "no-store" in (await client.get("/v1/me/bookmarks")).headers["cache-control"]


async def test_a_note_is_kept_until_it_is_replaced_or_its_tool_dropped(client: Client, pool: Log) -> None:
    await catch_up(pool)
    await client.put("/v1/me/bookmarks/quill", json={"note": "first", "tags": ["a"]})
    await client.put("/v1/me/bookmarks/quill")
    assert [each["note"] for each in await shelf(client)] == ["first"]
    await client.put("/v1/me/bookmarks/quill", json={"note": "second"})
    assert [(each["note"], each["tags"]) for each in await shelf(client)] == [("second", [])]
    await client.delete("/v1/me/bookmarks/quill")
    await client.put("/v1/me/bookmarks/quill")
    assert [(each["note"], each["tags"]) for each in await shelf(client)] == [("", [])]


async def test_a_note_is_not_in_the_log(client: Client, pool: Log) -> None:
    await client.put("/v1/me/bookmarks/quill", json={"note": "my secret plan", "tags": ["hidden"]})
    await client.delete("/v1/me/bookmarks/quill")
    rows = [row[0] for row in await pool.fetch("SELECT events::text FROM events WHERE shard > 0")]
    assert len(rows) == 2
    assert not [row for row in rows if "secret" in row or "hidden" in row]
    assert await pool.fetchval("SELECT count(*) FROM notes") == 0


async def test_bookmarks_are_counted_and_never_in_the_tally(client: Client, pool: Log) -> None:
    await client.put("/v1/me/bookmarks/quill")
    await new_visitor(client).put("/v1/me/bookmarks/quill")
    await vote(client, choice="skip")
    await catch_up(pool)
    card = (await client.get("/v1/tools/quill")).json()
    assert (card["bookmarks"], card["tally"]["ship"], card["tally"]["skip"]) == (2, 0, 1)
    await client.delete("/v1/me/bookmarks/quill")
    await client.delete("/v1/me/bookmarks/quill")
    await catch_up(pool)
    assert (await client.get("/v1/tools/quill")).json()["bookmarks"] == 1


async def test_an_unknown_tool_cannot_be_saved(client: Client) -> None:
    assert_problem(await client.put("/v1/me/bookmarks/pen"), 404)
    assert_problem(await client.delete("/v1/me/bookmarks/pen"), 404)


async def test_a_text_is_kept_as_it_was_written(client: Client, pool: Log) -> None:
    await catch_up(pool)
    for note in (
        "<script>alert(1)</script>",
        "e\u0301 is not \u00e9",
        "Z\u0351\u036b\u0343a\u0363l",
        "\u202eright to left",
        "=1+1",
    ):
        await client.put("/v1/me/bookmarks/quill", json={"note": note})
        assert [each["note"] for each in await shelf(client)] == [note]
