"""Rankings over HTTP: the order of the tools, and pages that list each tool once."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import get_args

from domain.verdicts.rankings import Sort
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

SORTS: tuple[Sort, ...] = get_args(Sort)

# Appends to shard 1, oldest first, $2[n] votes for the tool $1[n], $3[n] hours before a noon that is newer than all other events.
APPEND_VOTES = """
WITH head AS (SELECT position FROM heads WHERE shard = 1),
     votes AS (SELECT slug, hours, row_number() OVER (ORDER BY hours DESC) AS n
                 FROM unnest($1::text[], $2::integer[], $3::integer[]) AS u (slug, many, hours), generate_series(1, many)),
     added AS (INSERT INTO events (shard, position, recorded_at, type, tool, actor, id, origin, choice)
               SELECT 1, head.position + n, timestamptz '2030-03-10T12:00Z' - hours * interval '1 hour', 'VoteCast', tool,
                      gen_random_uuid(), gen_random_uuid(), 'test', 'ship'
                 FROM head, votes JOIN read_models.catalogue USING (slug) RETURNING 1)
UPDATE heads SET position = position + (SELECT count(*) FROM votes) WHERE shard = 1
"""


async def test_each_order_of_the_list(
    client: Client, catalogue_key: Headers, vote_key: Headers, pool: Log
) -> None:
    await cast(
        client,
        catalogue_key,
        vote_key,
        pool,
        {"liked": "+" * 11, "torn": "+++++-----", "few": "+" * 9, "panned": "-" * 12, "quiet": ""},
    )
    assert (
        await slugs(client) == await slugs(client, sort="top") == ["liked", "torn", "panned", "few", "quiet"]
    )
    assert await slugs(client, sort="hot") == ["panned", "liked", "torn", "few", "quiet"]
    assert await slugs(client, sort="most-voted") == ["panned", "liked", "torn", "few", "quiet"]
    assert await slugs(client, sort="controversial") == ["torn", "liked", "panned", "few", "quiet"]
    assert await slugs(client, sort="trending") == ["panned", "liked", "torn", "few", "quiet"]
    assert await slugs(client, sort="new") == ["quiet", "panned", "few", "torn", "liked"]


async def test_before_votes_the_panel_decides(client: Client, catalogue_key: Headers, pool: Log) -> None:
    await seat_panel(pool, "builder", "skeptic")
    for tool in ("praised", "shipped", "split", "untaken"):
        await list_tool(client, catalogue_key, tool)
    await publish(client, catalogue_key, "praised", "builder", 90, "ship")
    await publish(client, catalogue_key, "shipped", "builder", 60, "ship")
    await publish(client, catalogue_key, "split", "builder", 99, "ship")
    await publish(client, catalogue_key, "split", "skeptic", 99, "skip")
    await catch_up(pool)
    assert await slugs(client) == ["praised", "shipped", "split", "untaken"]


async def test_hot_weighs_a_vote_half_as_much_after_two_days(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    votes = {"today": {0: 10}, "earlier": {48: 20, 72: 1}, "long-ago": {33 * 24: 500}}
    await list_with_votes(client, catalogue_key, pool, votes)
    assert await slugs(client, sort="hot") == ["earlier", "today", "long-ago"]
    await append(pool, {"today": {0: 1}})
    assert await slugs(client, sort="hot") == ["today", "earlier", "long-ago"]


async def test_a_tool_trends_when_votes_arrive_faster_than_before(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    steady = dict.fromkeys(range(0, 29 * 24, 6), 5)
    doubled = {hours: many * (2 if hours <= 36 else 1) for hours, many in steady.items()}
    await list_with_votes(
        client,
        catalogue_key,
        pool,
        {
            "steady": steady,
            "doubled": doubled,
            "woken": {5: 30, 400: 3},
            "handful": {1: 4},
            "over": {48: 300},
        },
    )
    assert await slugs(client, sort="trending") == ["woken", "doubled", "handful", "steady", "over"]


async def test_repeated_votes_of_one_person_count_once(
    client: Client, catalogue_key: Headers, vote_key: Headers, pool: Log
) -> None:
    await cast(client, catalogue_key, vote_key, pool, {"honest": "++", "pushed": "+"})
    for _ in range(5):
        retracted = await client.delete(
            "/v1/votes/pushed", params={"voter": "voter 0"}, headers=dict(vote_key)
        )
        assert retracted.json()["outcome"] == "retracted"
        await vote_as(client, vote_key, "voter 0", "ship", "pushed")
    await catch_up(pool)
    assert await slugs(client, sort="hot") == ["honest", "pushed"]


async def test_pages_list_each_tool_once(
    client: Client, catalogue_key: Headers, vote_key: Headers, pool: Log
) -> None:
    tied = {f"tied-{n}": "" for n in range(3)}
    votes = {"split": "+-", "skipped": "--", **tied, "shipped": "++", "gone": "+"}
    await cast(client, catalogue_key, vote_key, pool, votes)
    await retire_tool(client, catalogue_key, "gone")
    await catch_up(pool)
    for sort in SORTS:
        seen, last = await pages(client, f"/v1/tools?sort={sort}&limit=2")
        assert seen == await slugs(client, sort=sort)
        assert len(set(seen)) == len(seen) == 6
        assert [slug for slug in seen if slug in tied] == ["tied-2", "tied-1", "tied-0"]
        assert "link" not in last


async def test_a_new_day_between_two_pages_neither_skips_nor_repeats(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    """Pages that continue a ranking of the day before leave out the votes of the new day."""
    votes = {f"tool-{n}": {0: 5 + n, 48 + 24 * n: 20} for n in range(5)}
    await list_with_votes(client, catalogue_key, pool, {**votes, "clock": {0: 1}})
    orders: tuple[Sort, ...] = ("hot", "trending")
    before = {sort: await slugs(client, sort=sort) for sort in orders}
    first = {
        sort: (await client.get("/v1/tools", params={"sort": sort, "limit": 2})).json() for sort in orders
    }
    await append(pool, {"clock": {-40: 100}})
    for sort in orders:
        rest = await slugs(client, sort=sort, cursor=first[sort]["next"])
        assert [card["slug"] for card in first[sort]["items"]] + rest == before[sort]
        assert (await slugs(client, sort=sort))[0] == "clock"


async def test_votes_between_two_pages_neither_skip_nor_repeat_a_tool(
    client: Client, catalogue_key: Headers, vote_key: Headers, pool: Log
) -> None:
    """The pages after the first are of its moment, by Link or by the cursor alone; so is what the cards say."""
    votes = {f"tool-{n}": "+" * (9 - n) for n in range(6)}
    await cast(client, catalogue_key, vote_key, pool, votes)
    await catch_up(pool)
    for sort in SORTS:
        before = await slugs(client, sort=sort)
        first = await client.get("/v1/tools", params={"sort": sort, "limit": 2})
        for n in range(30):
            await vote_as(client, vote_key, f"{sort} {n}", "ship", before[-1])
        await catch_up(pool)
        assert (await slugs(client, sort=sort)) != before or sort in ("controversial", "new")
        link = first.links["next"]["url"]
        assert "as_of=" in link
        for second in (
            await client.get(link),
            await client.get("/v1/tools", params={"sort": sort, "cursor": first.json()["next"]}),
        ):
            assert second.headers["shiplog-position"] == first.headers["shiplog-position"]
        seen, _ = await pages(client, link)
        assert [card["slug"] for card in first.json()["items"]] + seen == before


async def test_an_empty_cursor_is_not_the_first_page(client: Client) -> None:
    for path in ("/v1/tools?cursor=", "/v1/verdicts/flips?cursor=", "/v1/verdicts/flips?since="):
        assert_problem(await client.get(path), 400)


async def test_a_cursor_of_another_order_or_a_forged_one_is_rejected(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    for n in range(3):
        await list_tool(client, catalogue_key, f"tool-{n}")
    await catch_up(pool)
    cursor = (await client.get("/v1/tools", params={"sort": "top", "limit": 1})).json()["next"]
    for sort in SORTS[1:]:
        assert_problem(await client.get("/v1/tools", params={"sort": sort, "cursor": cursor}), 400)
    for written in ('["hot",1e99,[1]]', '["hot",99999999999,[1]]', '["hot",-1,[]]', '["hot",5,[1],6]'):
        forged = urlsafe_b64encode(written.encode()).decode().rstrip("=")
        assert_problem(await client.get("/v1/tools", params={"sort": "hot", "cursor": forged}), 400)


async def test_a_ranking_as_of_a_moment_is_the_ranking_at_that_moment(
    client: Client, catalogue_key: Headers, vote_key: Headers, pool: Log
) -> None:
    await cast(client, catalogue_key, vote_key, pool, {"one": "++--", "two": "+-", "three": ""})
    shown = {sort: await client.get("/v1/tools", params={"sort": sort}) for sort in SORTS}
    await cast(client, catalogue_key, vote_key, pool, {"three": "++++---", "two": "++++++", "four": ""})
    await append(pool, {"three": {-48: 30}})
    for sort, then in shown.items():
        listed = [card["slug"] for card in then.json()["items"]]
        assert await slugs(client, sort=sort, as_of=then.headers["shiplog-position"]) == listed
        assert await slugs(client, sort=sort) != listed


async def cast(
    client: Client, catalogue_key: Headers, vote_key: Headers, log: Log, votes: Mapping[str, str]
) -> None:
    """List the tools, and cast a vote for ship for every +, for skip for every -."""
    for tool, casts in votes.items():
        await list_tool(client, catalogue_key, tool)
        for n, cast in enumerate(casts):
            await vote_as(client, vote_key, f"voter {n}", "ship" if cast == "+" else "skip", tool)
    await catch_up(log)


async def list_with_votes(
    client: Client, catalogue_key: Headers, log: Log, votes: Mapping[str, Mapping[int, int]]
) -> None:
    """List the tools, and append votes, given as {tool: {hours ago: votes}}."""
    for tool in votes:
        await list_tool(client, catalogue_key, tool)
    await catch_up(log)
    await append(log, votes)


async def append(log: Log, votes: Mapping[str, Mapping[int, int]]) -> None:
    rows = [(tool, many, hours) for tool, by_hour in votes.items() for hours, many in by_hour.items()]
    await log.execute(APPEND_VOTES, *(list(column) for column in zip(*rows, strict=True)))
    await catch_up(log)


async def pages(client: Client, address: str) -> tuple[list[str], Mapping[str, str]]:
    """The slugs of all pages, and the headers of the last one."""
    seen: list[str] = []
    while True:
        page = await client.get(address)
        seen += [card["slug"] for card in page.json()["items"]]
        if page.json()["next"] is None:
            return seen, page.headers
        (address,) = re.fullmatch(r'<([^>]+)>; rel="next"', page.headers["link"]).groups()  # type: ignore[union-attr]
        assert f"cursor={page.json()['next']}" in address


async def slugs(client: Client, **params: str) -> list[str]:
    answer = await client.get("/v1/tools", params=params)
    assert answer.status_code == 200, answer.text
    return [card["slug"] for card in answer.json()["items"]]
