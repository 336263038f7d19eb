"""Reviewers over HTTP: seated, revised, ordered, retired and restored; and what their takes count for."""

from __future__ import annotations

import asyncio

from tests.support.stage import (
    Client,
    Headers,
    Log,
    assert_problem,
    catch_up,
    count_events,
    list_tool,
    publish,
)

BUILDER = {"name": "Builder", "tagline": "Builds.", "bio": "Has built."}


async def seat(client: Client, key: Headers, *slugs: str) -> None:
    for slug in slugs:
        answer = await client.put(f"/v1/reviewers/{slug}", json={"name": slug.title()}, headers=dict(key))
        assert answer.status_code == 201, answer.text


async def panel_of(client: Client, log: Log, **params: str) -> list[tuple[str, bool]]:
    """(slug, retired) in the order of the list."""
    await catch_up(log)
    items = (await client.get("/v1/reviewers", params=params)).json()["items"]
    return [(each["slug"], each["retired_at"] is not None) for each in items]


async def test_a_reviewer_is_seated_then_revised(client: Client, catalogue_key: Headers, pool: Log) -> None:
    seated = await client.put("/v1/reviewers/builder", json=BUILDER, headers=catalogue_key)
    assert (seated.status_code, seated.headers["etag"]) == (201, '"1"')
    assert seated.json() == {"slug": "builder", "revision": 1, "position": "0.1"}
    again = await client.put("/v1/reviewers/builder", json=BUILDER, headers=catalogue_key)
    assert (again.status_code, again.json()["position"]) == (200, None)
    renamed = await client.put("/v1/reviewers/builder", json={"name": "The Builder"}, headers=catalogue_key)
    assert (renamed.status_code, renamed.json()["revision"], renamed.headers["etag"]) == (200, 2, '"2"')
    await catch_up(pool)
    shown = await client.get("/v1/reviewers/builder")
    assert shown.headers["etag"].startswith('"2-')
    assert shown.json() == {
        "slug": "builder", "name": "The Builder", "tagline": "", "bio": "", "seat": 1, "takes": 0, "revision": 2,
        "retired_at": None,
    }  # fmt: skip
    assert (await client.get("/v1/reviewers")).json()["items"] == [shown.json()]
    assert (await client.get("/v1/reviewers/builder", params={"as_of": "0.1"})).json()["name"] == "Builder"


async def test_if_match_rejects_an_outdated_revision(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    async def put(if_match: str, name: str) -> int:
        headers = {**catalogue_key, "If-Match": if_match}
        return (await client.put("/v1/reviewers/builder", json={"name": name}, headers=headers)).status_code

    assert [await put('"0"', "A"), await put('"0"', "B"), await put('"1"', "B"), await put("*", "C")] == [
        201, 412, 200, 200,
    ]  # fmt: skip
    for action in ("retire", "restore"):
        stale = {**catalogue_key, "If-Match": '"1"'}
        assert_problem(await client.post(f"/v1/reviewers/builder/{action}", headers=stale), 412)
    assert await count_events(pool) == 3


async def test_malformed_reviewers_are_rejected(client: Client, catalogue_key: Headers, pool: Log) -> None:
    for slug, body in (
        ("builder", {}),
        ("builder", {"name": ""}),
        ("builder", {"name": "a\nb"}),
        ("builder", {"name": "B", "seat": 1}),
        ("Builder", BUILDER),
        ("order", BUILDER),
    ):
        answer = await client.put(f"/v1/reviewers/{slug}", json=body, headers=catalogue_key)
        assert_problem(answer, 400)
    assert_problem(await client.get("/v1/reviewers/nobody"), 404)
    assert await count_events(pool) == 0


async def test_a_take_is_accepted_right_after_its_reviewer_was_seated(
    client: Client, catalogue_key: Headers
) -> None:
    """Without any worker: the log decides, not a read model."""
    assert_problem(await publish(client, catalogue_key, "quill", "builder", 80, "ship"), 404)
    await seat(client, catalogue_key, "builder")
    await list_tool(client, catalogue_key)
    assert (await publish(client, catalogue_key, "quill", "builder", 80, "ship")).status_code == 201


async def test_a_retired_reviewer_publishes_nothing_and_their_takes_count(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    await seat(client, catalogue_key, "builder", "skeptic")
    for slug in ("quill", "pen"):
        await list_tool(client, catalogue_key, slug)
    await publish(client, catalogue_key, "quill", "skeptic", 20, "skip", "No.")
    await catch_up(pool)
    before = (await client.get("/v1/tools/quill")).json()
    retired = await client.post("/v1/reviewers/skeptic/retire", headers=catalogue_key)
    assert (retired.status_code, retired.json()["revision"]) == (200, 2)
    assert await panel_of(client, pool) == [("builder", False), ("skeptic", True)]
    assert_problem(await publish(client, catalogue_key, "quill", "skeptic", 90, "ship"), 410)
    renamed = await client.put("/v1/reviewers/skeptic", json={"name": "S"}, headers=catalogue_key)
    assert_problem(renamed, 410)

    after = (await client.get("/v1/tools/quill")).json()
    assert (after["verdict"]["label"], after["verdict"]["inputs"]) == ("Skip", before["verdict"]["inputs"])
    assert after["scorecard"] == before["scorecard"]
    proof = (await client.get("/v1/tools/quill/verdict/proof")).json()
    assert [each["reviewer"] for each in proof["inputs"]["takes"]] == ["skeptic"]
    assert [row["reviewer"]["slug"] for row in (await client.get("/v1/tools/pen")).json()["scorecard"]] == [
        "builder"
    ]
    history = (await client.get("/v1/tools/quill/takes/skeptic/history")).json()["items"]
    assert [each["text"] for each in history] == ["No."]

    for pair in ("quill/pen", "pen/quill"):
        rows = (await client.get(f"/v1/comparisons/{pair}")).json()["scorecard"]
        assert [row["reviewer"]["slug"] for row in rows] == ["builder", "skeptic"]
        side, other = ("left", "right") if pair.startswith("quill") else ("right", "left")
        assert (rows[1][side]["score"], rows[1][other]) == (20, None)

    assert (await client.delete("/v1/tools/quill/takes/skeptic", headers=catalogue_key)).status_code == 200
    await catch_up(pool)
    withdrawn = (await client.get("/v1/tools/quill")).json()
    assert withdrawn["verdict"]["label"] == "Unreviewed"
    assert [row["reviewer"]["slug"] for row in withdrawn["scorecard"]] == ["builder"]
    restored = await client.post("/v1/reviewers/skeptic/restore", headers=catalogue_key)
    assert restored.json()["revision"] == 3
    assert (await publish(client, catalogue_key, "quill", "skeptic", 90, "ship")).status_code == 200
    assert await panel_of(client, pool, as_of=retired.json()["position"]) == [
        ("builder", False),
        ("skeptic", True),
    ]


async def test_the_panel_is_put_in_order(client: Client, catalogue_key: Headers, pool: Log) -> None:
    async def order(*slugs: str) -> int:
        answer = await client.put("/v1/reviewers/order", json={"order": slugs}, headers=dict(catalogue_key))
        return answer.status_code

    await seat(client, catalogue_key, "a", "b", "c", "d")
    await client.post("/v1/reviewers/b/retire", headers=catalogue_key)
    assert await order("d", "a", "c") == 200
    assert await panel_of(client, pool) == [("d", False), ("a", False), ("c", False), ("b", True)]
    before = await count_events(pool)
    assert await order("d", "a", "c") == 200
    assert [await order("d", "a"), await order("d", "a", "b", "c"), await order("d", "a", "c", "c")] == [
        409
    ] * 3
    assert await order("d", "a", "C") == 400
    assert await count_events(pool) == before
    revisions = {
        each["slug"]: each["revision"] for each in (await client.get("/v1/reviewers")).json()["items"]
    }
    assert revisions == {"a": 1, "b": 2, "c": 1, "d": 1}
    await client.post("/v1/reviewers/b/restore", headers=catalogue_key)
    assert await panel_of(client, pool) == [("d", False), ("b", False), ("a", False), ("c", False)]


async def test_orders_at_the_same_time_leave_one_of_them_whole(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    await seat(client, catalogue_key, "a", "b", "c", "d")
    orders = [["d", "c", "b", "a"], ["b", "a", "d", "c"], ["c", "d", "a", "b"]]
    answers = await asyncio.gather(
        *(client.put("/v1/reviewers/order", json={"order": each}, headers=catalogue_key) for each in orders)
    )
    assert [each.json()["order"] for each in answers] == orders
    assert [slug for slug, _ in await panel_of(client, pool)] in orders


async def test_categories_are_those_of_tools_that_are_not_retired(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    """A slug is listed once, under the name that a tool was given last."""
    assert (await client.get("/v1/categories")).json()["items"] == []
    for slug, category, name in (
        ("quill", "writing", "Writing"),
        ("pen", "writing", "Writing tools"),
        ("nail", "building", "Building"),
        ("saw", "cutting", "Cutting"),
    ):
        await list_tool(client, catalogue_key, slug, category={"slug": category, "name": name})
    await client.post("/v1/tools/saw/retire", headers=catalogue_key)
    await catch_up(pool)
    assert (await client.get("/v1/categories")).json() == {
        "items": [
            {"slug": "building", "name": "Building", "tools": 1},
            {"slug": "writing", "name": "Writing tools", "tools": 2},
        ],
        "next": None,
    }
