"""as_of over HTTP: the state at a moment, exact to the event, and a problem for a moment that the log does not have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.shared.log import Shard, parse_position
from projections.engine.blocks import BLOCK_EVENTS
from projections.engine.registry import PROJECTIONS
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
TIME_OF = "SELECT recorded_at FROM events WHERE shard = $1 AND position = $2"
ROUTES = (
    "/v1/tools/quill",
    "/v1/tools/quill/tally",
    "/v1/tools/quill/verdict",
    "/v1/tallies?tools=quill",
    "/v1/tools",
)


async def vote_position(client: Client, key: Headers, voter: str, choice: str) -> str:
    position: str = (await vote_as(client, key, voter, choice)).json()["position"]
    return position


async def time_of(log: Log, position: str) -> datetime:
    at = parse_position(position)
    moment: datetime = await log.fetchval(TIME_OF, at.shard, at.number)
    return moment


async def tally(client: Client, as_of: str | datetime) -> tuple[int, int]:
    text = as_of if isinstance(as_of, str) else as_of.isoformat()
    answer = await client.get("/v1/tools/quill/tally", params={"as_of": text})
    assert answer.status_code == 200, answer.text
    return answer.json()["ship"], answer.json()["skip"]


async def test_a_time_includes_events_recorded_at_it_and_before(
    client: Client, vote_key: Headers, pool: Log
) -> None:
    first = await time_of(pool, await vote_position(client, vote_key, "ada", "ship"))
    second = await time_of(pool, await vote_position(client, vote_key, "bob", "skip"))
    instant = timedelta(microseconds=1)
    assert await tally(client, first - instant) == (0, 0)
    assert await tally(client, first) == (1, 0)
    assert await tally(client, second - instant) == (1, 0)
    assert await tally(client, second) == (1, 1)
    assert await tally(client, second.astimezone(UTC) + instant) == (1, 1)


async def test_a_changed_and_a_retracted_vote_count_as_they_were(client: Client, vote_key: Headers) -> None:
    cast, changed = [await vote_position(client, vote_key, "ada", choice) for choice in ("ship", "skip")]
    answer = await client.delete("/v1/votes/quill", params={"voter": "ada"}, headers=dict(vote_key))
    assert [await tally(client, at) for at in (cast, changed, answer.json()["position"])] == [
        (1, 0),
        (0, 1),
        (0, 0),
    ]


async def test_events_that_are_not_folded_yet_are_included(client: Client, vote_key: Headers) -> None:
    """The live read model is still at position 0."""
    position = await vote_position(client, vote_key, "ada", "ship")
    live = await client.get("/v1/tools/quill/tally")
    assert (live.json()["ship"], await tally(client, position)) == (0, (1, 0))


@pytest.mark.parametrize("route", [*ROUTES, "/v1/comparisons/quill/pen"])
async def test_the_position_header_of_an_answer_gives_the_same_answer_as_as_of(
    client: Client, catalogue_key: Headers, vote_key: Headers, pool: Log, route: str
) -> None:
    await list_tool(client, catalogue_key, "pen")
    await vote_position(client, vote_key, "ada", "ship")
    await catch_up(pool)
    now = await client.get(route)
    await vote_position(client, vote_key, "bob", "skip")
    params = {"as_of": now.headers["shiplog-position"]} | _query(route)
    then = await client.get(route, params=params)
    assert then.content == now.content
    for header in ("etag", "shiplog-position", "shiplog-lag-ms"):
        assert then.headers[header] == now.headers[header]
    again = await client.get(route, params=params, headers={"If-None-Match": now.headers["etag"]})
    assert again.status_code == 304


def _query(route: str) -> dict[str, str]:
    return {"tools": "quill"} if "tools=" in route else {}


async def test_takes_as_they_were(client: Client, catalogue_key: Headers, pool: Log) -> None:
    await seat_panel(pool, "builder")
    published, revised = [
        (await publish(client, catalogue_key, "quill", "builder", score, choice)).json()["position"]
        for score, choice in ((80, "ship"), (30, "skip"))
    ]
    await client.delete("/v1/tools/quill/takes/builder", headers=dict(catalogue_key))
    withdrawn = f"0.{int(revised[2:]) + 1}"
    shown = []
    for at in ("0.1", "0.2", published, revised, withdrawn):
        card = (await client.get("/v1/tools/quill", params={"as_of": at})).json()
        verdict = (await client.get("/v1/tools/quill/verdict", params={"as_of": at})).json()
        assert card["verdict"] == verdict
        shown.append((verdict["label"], [row["take"] and row["take"]["score"] for row in card["scorecard"]]))
    assert shown == [
        ("Unreviewed", []),
        ("Unreviewed", [None]),
        ("Ship", [80]),
        ("Skip", [30]),
        ("Unreviewed", [None]),
    ]


async def test_a_tool_before_it_was_listed_and_after_it_was_retired(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    await list_tool(client, catalogue_key, "pen")
    await retire_tool(client, catalogue_key, "pen")
    for address in (
        "/v1/tools/pen",
        "/v1/tools/pen/tally",
        "/v1/tools/pen/verdict",
        "/v1/comparisons/quill/pen",
    ):
        early = await client.get(address, params={"as_of": "0.1"})
        assert_problem(early, 404)
        assert "not listed yet" in early.json()["detail"]
        assert (await client.get(address, params={"as_of": "0.2"})).status_code == 200
    retired = [
        (await client.get("/v1/tools/pen", params={"as_of": at})).json()["retired_at"]
        for at in ("0.2", "0.3")
    ]
    assert retired[0] is None
    assert datetime.fromisoformat(retired[1]) == await time_of(pool, "0.3")
    listed = [
        (await client.get("/v1/tools", params={"as_of": at})).json()["items"] for at in ("0.1", "0.2", "0.3")
    ]
    assert [{card["slug"] for card in cards} for cards in listed] == [{"quill"}, {"quill", "pen"}, {"quill"}]


async def test_before_the_first_event_the_log_is_empty(client: Client) -> None:
    long_ago = "2001-01-01T00:00:00Z"
    assert_problem(await client.get("/v1/tools/quill/tally", params={"as_of": long_ago}), 404)
    nothing = await client.get("/v1/tools", params={"as_of": long_ago})
    assert (nothing.json()["items"], nothing.headers["shiplog-position"]) == ([], "0.0,1.0,2.0,3.0")


@pytest.mark.parametrize(
    ("as_of", "status"),
    [
        ("9.1", 404),
        ("1.1", 404),
        ("1.0", 404),
        ("0.2", 404),
        ("9999.999999999999999999", 404),
        ("0.1,1.0,2.0,3.1", 404),
        ("0.1,1.0", 400),
        ("0.1,1.0,2.0,4.0", 400),
        ("0.1,1.0,2.0,3.0,4.0", 400),
        ("9999-12-31T23:59:59Z", 400),
    ],
)
async def test_a_moment_that_the_log_does_not_have_is_a_problem(
    client: Client, as_of: str, status: int
) -> None:
    for route in ROUTES:
        answer = await client.get(route, params={"as_of": as_of} | _query(route))
        assert_problem(answer, status)


async def test_a_time_in_the_future_is_a_problem(client: Client) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    answer = await client.get("/v1/tools/quill/tally", params={"as_of": soon})
    assert_problem(answer, 400)
    assert "passed" in answer.json()["detail"]


async def test_an_answer_waits_for_block_sums_that_are_far_behind(client: Client, pool: Log) -> None:
    """As after an upgrade that rebuilds them."""
    await pool.execute("UPDATE heads SET position = $1 WHERE shard = 1", BLOCK_EVENTS + 1)
    vector = f"0.1,1.{BLOCK_EVENTS + 1},2.0,3.0"
    answer = await client.get("/v1/tools/quill/tally", params={"as_of": vector})
    assert_problem(answer, 503)
    assert answer.headers["retry-after"] == "1"
    await pool.execute("UPDATE checkpoints SET position = 1 WHERE shard = $1", Shard(1))
    assert (await client.get("/v1/tools/quill/tally", params={"as_of": vector})).status_code == 200
    assert {"block_tally", "block_bookmarks"} < {projection.name for projection in PROJECTIONS}
