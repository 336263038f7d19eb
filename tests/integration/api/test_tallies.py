"""Tallies over HTTP: exact, with their log position, and without a share where there are no votes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest

from domain.shared.log import parse_position
from tests.support.stage import (
    Client,
    Headers,
    Log,
    assert_problem,
    catch_up,
    catch_up_shard,
    list_tool,
    new_visitor,
    vote,
    vote_as,
)

pytestmark = pytest.mark.usefixtures("quill")
NO_VOTES = {"ship": 0, "skip": 0, "total": 0, "share": None, "interval": None, "preliminary": True}


async def test_without_votes_there_are_zeros_and_nulls(client: Client) -> None:
    assert (await client.get("/v1/tools/quill/tally")).json() == {"tool": "quill", **NO_VOTES}


async def test_shares_and_intervals_have_four_places(client: Client, vote_key: Headers, pool: Log) -> None:
    for voter, choice in {"a": "ship", "b": "ship", "c": "skip"}.items():
        await vote_as(client, vote_key, voter, choice)
    await catch_up(pool)
    tally = (await client.get("/v1/tools/quill/tally")).json()
    assert (tally["ship"], tally["skip"], tally["total"], tally["share"]) == (2, 1, 3, "0.6667")
    assert tally["interval"] == ["0.2077", "0.9385"]
    assert tally["preliminary"] is True


async def test_a_retracted_vote_leaves_an_empty_tally(client: Client, pool: Log) -> None:
    await vote(client)
    await client.delete("/v1/votes/quill")
    await catch_up(pool)
    assert (await client.get("/v1/tools/quill/tally")).json() == {"tool": "quill", **NO_VOTES}


async def test_an_answer_has_its_log_position_and_lag(client: Client, pool: Log) -> None:
    position = parse_position((await vote(client)).json()["position"])
    behind = await client.get("/v1/tools/quill/tally")
    assert behind.headers["shiplog-position"] == "0.0,1.0,2.0,3.0"
    assert int(behind.headers["shiplog-lag-ms"]) >= 0
    await catch_up(pool)
    fresh = await client.get("/v1/tools/quill/tally")
    assert str(position) in fresh.headers["shiplog-position"].split(",")
    assert fresh.headers["shiplog-lag-ms"] == "0"


async def test_min_position_waits_until_the_read_model_has_it(client: Client, pool: Log) -> None:
    position = (await vote(client)).json()["position"]
    answer, _ = await asyncio.gather(
        new_visitor(client).get("/v1/tools/quill/tally", params={"min_position": position}),
        catch_up_shard(pool, parse_position(position).shard),
    )
    assert (answer.status_code, answer.json()["ship"]) == (200, 1)


async def test_a_position_that_is_not_reached_is_a_503(client: Client) -> None:
    addresses = ("/v1/tools/quill/tally?min_position=1.999", "/v1/tallies?tools=quill&min_position=1.999")
    requests = (client.get(address) for address in addresses)
    for answer in await asyncio.gather(*requests):
        assert_problem(answer, 503)
        assert answer.headers["retry-after"] == "1"


async def test_several_tallies_are_in_the_order_of_the_query(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    await list_tool(client, catalogue_key, "pen")
    await vote(client, "pen", "skip")
    await catch_up(pool)
    answer = await client.get("/v1/tallies", params={"tools": "quill,pen,quill"})
    assert [(each["tool"], each["skip"]) for each in answer.json()["items"]] == [("quill", 0), ("pen", 1)]
    assert "shiplog-position" in answer.headers
    assert_problem(await client.get("/v1/tallies", params={"tools": "quill,ink"}), 404)


async def test_a_known_etag_is_answered_with_304(client: Client, pool: Log) -> None:
    first = await client.get("/v1/tools/quill/tally")
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await client.get("/v1/tools/quill/tally", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert "shiplog-position" in again.headers

    await vote(client)
    await catch_up(pool)
    changed = await client.get("/v1/tools/quill/tally", headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["ship"]) == (200, 1)
    assert changed.headers["etag"] != tag


async def test_a_problem_has_no_etag(client: Client) -> None:
    assert "etag" not in (await client.get("/v1/tools/pen/tally", headers={"If-None-Match": "*"})).headers


async def test_head_is_get_without_the_body(client: Client) -> None:
    whole, head = await client.get("/v1/tools/quill/tally"), await client.head("/v1/tools/quill/tally")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "etag", "shiplog-position"):
        assert head.headers[name] == whole.headers[name]


async def test_history_in_hours_and_days(client: Client, vote_key: Headers, pool: Log) -> None:
    for voter, choice in [("a", "ship"), ("b", "skip"), ("a", "skip")]:
        await vote_as(client, vote_key, voter, choice)
    moments = [row[0] for row in await pool.fetch("SELECT recorded_at FROM events WHERE shard > 0")]
    await catch_up(pool)
    for bucket, bucket_start in (("hour", {"minute": 0}), ("day", {"hour": 0, "minute": 0})):
        starts = {moment.replace(second=0, microsecond=0, **bucket_start) for moment in moments}
        rows = (await client.get("/v1/tools/quill/history", params={"bucket": bucket})).json()["items"]
        assert {datetime.fromisoformat(row["start"]) for row in rows} == starts
        assert sum(row["casts"] for row in rows) == 3
        assert (rows[-1]["ship"], rows[-1]["skip"]) == (0, 2)


async def test_history_counts_exactly_at_any_minute(client: Client, pool: Log) -> None:
    """A vote of this hour: asked for from before and after it, to before and after it, in other zones too."""
    await vote(client)
    await catch_up(pool)
    at = await pool.fetchval("SELECT max(recorded_at) FROM events WHERE shard > 0")
    for zone in (UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=5, minutes=45))):

        async def read(zone: tzinfo = zone, **times: timedelta) -> list[tuple[int, int]]:
            params = {name.strip("_"): (at + ago).astimezone(zone).isoformat() for name, ago in times.items()}
            answer = await client.get("/v1/tools/quill/history", params={"bucket": "hour", **params})
            return [(each["casts"], each["ship"]) for each in answer.json()["items"]]

        moment = timedelta(microseconds=1)
        assert await read(from_=-moment) == await read(from_=-0 * moment) == [(1, 1)]
        assert await read(from_=moment) == [(0, 1)]
        assert await read(to=moment) == await read(from_=-60 * moment, to=moment) == [(1, 1)]
        assert await read(to=-0 * moment) == await read(from_=-60 * moment, to=-0 * moment) == []


@pytest.mark.parametrize(
    ("times", "detail"),
    [
        ({"from": "2026-03-02T00:00:00Z", "to": "2026-03-01T00:00:00Z"}, "from: it is later than to"),
        ({"from": ""}, "from: Write the time"),
        ({"to": ""}, "to: Write the time"),
        ({"to": "2026-03-01T00:00:00.0000005Z"}, "at most six decimals"),
        ({"from": "2026-03-01T00:00:00"}, "with its zone"),
    ],
)
async def test_a_history_between_unusable_times_is_a_400(
    client: Client, times: dict[str, str], detail: str
) -> None:
    answer = await client.get("/v1/tools/quill/history", params=times)
    assert_problem(answer, 400)
    assert detail in answer.json()["detail"]


async def test_history_at_the_ends_of_the_calendar(client: Client, pool: Log) -> None:
    await vote(client)
    await catch_up(pool)
    last, first = "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z"
    for times, casts in (({"from": first, "to": last}, [1]), ({"from": last}, [0]), ({"to": first}, [])):
        answer = await client.get("/v1/tools/quill/history", params=times)
        assert answer.status_code == 200, answer.text
        assert [each["casts"] for each in answer.json()["items"]] == casts


async def test_history_from_a_later_time_begins_with_the_tally_of_then(client: Client, pool: Log) -> None:
    await vote(client)
    await catch_up(pool)
    after = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    later = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
    rows = (await client.get("/v1/tools/quill/history", params={"from": after, "to": later})).json()["items"]
    assert [(row["casts"], row["ship"]) for row in rows] == [(0, 1)]
    before = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    assert (await client.get("/v1/tools/quill/history", params={"to": before})).json()["items"] == []
