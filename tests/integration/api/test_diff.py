"""Diff over HTTP: the tools that changed between two moments, and the events, without their authors."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from projections.engine.blocks import BLOCK_EVENTS
from tests.support.stage import (
    Client,
    Headers,
    Log,
    assert_problem,
    catch_up,
    list_tool,
    publish,
    retire_tool,
    seat_panel,
    vote_as,
)

pytestmark = pytest.mark.usefixtures("quill")
HEADS = "SELECT shard, position FROM heads ORDER BY shard"
APPEND_VOTES = """
SELECT count(*) FROM append_casts($1::smallint, array_fill('v'::text, ARRAY[$2::integer]),
    array(SELECT gen_random_uuid() FROM generate_series(1, $2::integer)), array_fill($3::integer, ARRAY[$2::integer]),
    array_fill('ship'::text, ARRAY[$2::integer]),
    array(SELECT uuidv7() FROM generate_series(1, $2::integer)), array_fill('test'::text, ARRAY[$2::integer]))
"""


async def current_vector(log: Log) -> str:
    return ",".join(f"{shard}.{position}" for shard, position in await log.fetch(HEADS))


async def diff(client: Client, start: str, end: str, **more: object) -> dict[str, Any]:
    answer = await client.get("/v1/diff", params={"from": start, "to": end} | more)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    assert answer.headers["shiplog-position"] == answer.json()["to"]
    body: dict[str, Any] = answer.json()
    return body


async def test_a_diff_of_a_moment_and_itself_is_empty(client: Client, vote_key: Headers, pool: Log) -> None:
    await vote_as(client, vote_key, "ada", "ship")
    await catch_up(pool)
    now = await current_vector(pool)
    shown = {"from": now, "to": now, "tools": [], "events": [], "next": None}
    assert await diff(client, now, now) == shown


async def test_votes_are_counted_by_tool_and_shard_with_their_first_and_last_position(
    client: Client, catalogue_key: Headers, vote_key: Headers, pool: Log
) -> None:
    await list_tool(client, catalogue_key, "pen")
    await vote_as(client, vote_key, "ada", "ship")
    start = await current_vector(pool)
    places = [
        (await vote_as(client, vote_key, voter, choice)).json()["position"]
        for voter, choice in (("ada", "skip"), ("bob", "ship"), ("cy", "ship"), ("dee", "skip"))
    ]
    retracted = await client.delete("/v1/votes/quill", params={"voter": "bob"}, headers=dict(vote_key))
    places.append(retracted.json()["position"])
    end = await current_vector(pool)
    await vote_as(client, vote_key, "eve", "ship", "pen")
    await catch_up(pool)
    shown = await diff(client, start, end)
    (quill,) = shown["tools"]
    assert quill["tool"] == "quill"
    assert quill["tally"] == {"before": {"ship": 1, "skip": 0}, "after": {"ship": 1, "skip": 2}}
    by_shard = Counter(place[0] for place in places)
    assert [each["count"] for each in quill["votes"]] == [by_shard[shard] for shard in sorted(by_shard)]
    for each in quill["votes"]:
        mine = sorted(int(place[2:]) for place in places if place[0] == each["first"][0])
        assert (each["first"][2:], each["last"][2:]) == (str(mine[0]), str(mine[-1]))
    assert shown["events"] == []


async def test_every_editorial_event_is_shown(client: Client, catalogue_key: Headers, pool: Log) -> None:
    start = await current_vector(pool)
    await seat_panel(pool, "builder")
    await list_tool(client, catalogue_key, "pen")
    await publish(client, catalogue_key, "quill", "builder", 80, "ship")
    await client.delete("/v1/tools/quill/takes/builder", headers=dict(catalogue_key))
    await publish(client, catalogue_key, "quill", "builder", 20, "skip")
    await retire_tool(client, catalogue_key, "pen")
    await catch_up(pool)
    shown = await diff(client, start, await current_vector(pool))
    assert [(e["position"], e["type"], e["tool"], e["reviewer"], e["choice"]) for e in shown["events"]] == [
        ("0.2", "ReviewerSeated", None, "builder", None),
        ("0.3", "ToolListed", "pen", None, None),
        ("0.4", "TakePublished", "quill", "builder", "ship"),
        ("0.5", "TakeWithdrawn", "quill", "builder", None),
        ("0.6", "TakePublished", "quill", "builder", "skip"),
        ("0.7", "ToolRetired", "pen", None, None),
    ]
    quill, pen = shown["tools"]
    assert [quill["verdict"][when]["label"] for when in ("before", "after")] == ["Unreviewed", "Skip"]
    assert (pen["tool"], pen["tally"]["before"], pen["verdict"]["before"]) == ("pen", None, None)
    assert quill["verdict"]["before"]["inputs"] != quill["verdict"]["after"]["inputs"]


async def test_no_actor_is_shown(client: Client, vote_key: Headers, pool: Log) -> None:
    await vote_as(client, vote_key, "ada", "ship")
    await catch_up(pool)
    answer = await client.get("/v1/diff", params={"from": "2001-01-01T00:00:00Z", "to": "0.1"})
    assert {"tools", "events"} < answer.json().keys()
    for actor in await pool.fetch("SELECT DISTINCT actor::text FROM events"):
        assert actor[0] not in answer.text


async def test_votes_at_the_edges_of_blocks_are_counted_once(
    client: Client, vote_key: Headers, pool: Log
) -> None:
    """Every pair of moments at, just before and just after the edges of blocks."""
    for _ in range(5):
        await pool.fetchval(APPEND_VOTES, 1, BLOCK_EVENTS // 2, 1)
    await catch_up(pool)
    head = 5 * (BLOCK_EVENTS // 2)
    ends = sorted(
        {
            0,
            1,
            BLOCK_EVENTS - 1,
            BLOCK_EVENTS,
            BLOCK_EVENTS + 1,
            2 * BLOCK_EVENTS - 1,
            2 * BLOCK_EVENTS,
            2 * BLOCK_EVENTS + 1,
            head,
        }
    )
    for start in ends:
        for end in [each for each in ends if each > start]:
            shown = await diff(client, f"0.1,1.{start},2.0,3.0", f"0.1,1.{end},2.0,3.0")
            (quill,) = shown["tools"]
            assert quill["votes"] == [
                {"count": end - start, "first": f"1.{start + 1}", "last": f"1.{end}"}
            ], (start, end)
            assert quill["tally"]["after"]["ship"] == end


async def test_pages_together_show_everything_once(
    client: Client, catalogue_key: Headers, vote_key: Headers, pool: Log
) -> None:
    start = await current_vector(pool)
    slugs = [f"tool-{number}" for number in range(7)]
    for slug in slugs:
        await list_tool(client, catalogue_key, slug)
        await vote_as(client, vote_key, "ada", "ship", slug)
    await vote_as(client, vote_key, "ada", "ship", "quill")
    await catch_up(pool)
    end, cursor, tools, events = await current_vector(pool), "", [], []
    for _ in range(10):
        page = await diff(client, start, end, limit=3, **({"cursor": cursor} if cursor else {}))
        tools += [each["tool"] for each in page["tools"]]
        events += [each["tool"] for each in page["events"]]
        if not (cursor := page["next"]):
            break
    assert tools == ["quill", *slugs]
    assert events == slugs
    first = await client.get("/v1/diff", params={"from": start, "to": end, "limit": 3})
    assert 'rel="next"' in first.headers["link"]
    elsewhere = {"from": start, "to": start, "cursor": first.json()["next"]}
    assert_problem(await client.get("/v1/diff", params=elsewhere), 400)


async def test_a_time_and_a_position_can_be_mixed(client: Client, vote_key: Headers, pool: Log) -> None:
    position = (await vote_as(client, vote_key, "ada", "ship")).json()["position"]
    await catch_up(pool)
    shown = await diff(client, "2001-01-01T00:00:00Z", position)
    assert shown["from"] == "0.0,1.0,2.0,3.0"
    assert [each["type"] for each in shown["events"]] == ["ToolListed"]
    assert shown["tools"][0]["tally"] == {"before": None, "after": {"ship": 1, "skip": 0}}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 400),
        ({"from": "0.1"}, 400),
        ({"to": "0.1"}, 400),
        ({"from": "0.1", "to": "2001-01-01T00:00:00Z"}, 400),
        ({"from": "0.1,1.0,2.0,3.0", "to": "0.0,1.0,2.0,3.0"}, 400),
        ({"from": "now", "to": "0.1"}, 400),
        ({"from": "0.1", "to": "9.9"}, 404),
        ({"from": "0.1", "to": "0.1", "cursor": "e30"}, 400),
        ({"from": "0.1", "to": "0.1", "limit": "0"}, 400),
        ({"from": "0.1", "to": "0.1", "limit": "101"}, 400),
    ],
)
async def test_an_invalid_diff_is_a_problem(client: Client, query: dict[str, str], status: int) -> None:
    assert_problem(await client.get("/v1/diff", params=query), status)
