"""Decisions in the house: one after the other, each on top of the history it read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import reduce

import asyncpg
import msgspec
import pytest

from domain.editorial.tools import PutTool, decide, evolve
from domain.events.editorial import Category, Details, EditorialEvent, Pricing, ToolListed, ToolRevised
from domain.shared.errors import RevisionConflict
from domain.shared.log import EDITORIAL, Position
from eventstore.decisions import EditorialDecision, decide_tool
from tests.support.stage import AUTHOR, TOOL, Client, Headers, Log, assert_problem, new_visitor


def details(name: str) -> Details:
    return Details(name=name, category=Category("writing", "Writing"), pricing=Pricing("Free"))


async def put(log: Log, name: str, expected: int | None = None, slug: str = "quill") -> EditorialDecision:
    def on(past: Sequence[EditorialEvent]) -> list[EditorialEvent]:
        return decide(PutTool(slug, details(name), expected), reduce(evolve, past, None))

    async with log.acquire() as conn:
        return await decide_tool(conn, slug, on, AUTHOR)


async def test_a_decision_is_recorded_where_it_says(pool: Log) -> None:
    decided = await put(pool, "Quill")
    assert (decided.before, decided.events) == ([], [ToolListed("quill", 1, details("Quill"))])
    assert [each.position for each in decided.recorded] == [Position(EDITORIAL, 1)]
    row = await pool.fetchrow("SELECT type, tool, actor, origin, recorded_at FROM events")
    assert row is not None
    assert (row["type"], row["tool"], row["actor"], row["origin"]) == (
        "ToolListed",
        1,
        AUTHOR.actor,
        "test",
    )
    assert row["recorded_at"] == decided.recorded[0].recorded_at


async def test_the_next_decision_reads_what_the_last_one_left(pool: Log) -> None:
    await put(pool, "Quill")
    decided = await put(pool, "Quill 2")
    assert decided.before == [ToolListed("quill", 1, details("Quill"))]
    assert decided.events == [ToolRevised("quill", 2, details("Quill 2"))]


async def test_no_event_moves_nothing(pool: Log) -> None:
    await put(pool, "Quill")
    assert (await put(pool, "Quill")).recorded == []
    assert await pool.fetchval("SELECT position FROM heads WHERE shard = 0") == 1


async def test_two_at_once_on_a_new_slug_give_one_tool(pool: Log) -> None:
    decided = await asyncio.gather(*(put(pool, f"Quill {n}") for n in range(8)))
    types = sorted(type(event).__name__ for each in decided for event in each.events)
    assert types == ["ToolListed", *["ToolRevised"] * 7]
    assert await pool.fetchval("SELECT count(*) FROM slugs") == 1
    rows = await pool.fetch("SELECT position, tool, data FROM events ORDER BY position")
    assert [(row["position"], row["tool"]) for row in rows] == [(n, 1) for n in range(1, 9)]
    assert [msgspec.json.decode(row["data"])["revision"] for row in rows] == list(range(1, 9))


async def test_of_those_who_expect_the_same_revision_one_is_first(pool: Log) -> None:
    await put(pool, "Quill")
    decided = await asyncio.gather(
        *(put(pool, f"Quill {n}", expected=1) for n in range(8)), return_exceptions=True
    )
    assert sum(isinstance(each, EditorialDecision) for each in decided) == 1
    assert sum(isinstance(each, RevisionConflict) for each in decided) == 7


async def test_two_puts_at_once_over_http_list_the_tool_once(client: Client, catalogue_key: Headers) -> None:
    answers = await asyncio.gather(
        *(
            new_visitor(client).put(
                "/v1/tools/quill", json=TOOL | {"name": f"Quill {n}"}, headers=catalogue_key
            )
            for n in range(6)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert sorted(answer.json()["revision"] for answer in answers) == list(range(1, 7))


async def test_a_refused_decision_leaves_no_trace(pool: Log) -> None:
    with pytest.raises(RevisionConflict):
        await put(pool, "Quill", expected=4)
    assert await pool.fetchval("SELECT count(*) FROM slugs") == 0
    assert await pool.fetchval("SELECT position FROM heads WHERE shard = 0") == 0


async def test_a_decision_that_fails_while_it_is_made_leaves_no_trace(pool: Log) -> None:
    def failing(_: Sequence[EditorialEvent]) -> list[EditorialEvent]:
        raise ZeroDivisionError

    async with pool.acquire() as conn:
        with pytest.raises(ZeroDivisionError):
            await decide_tool(conn, "quill", failing, AUTHOR)
    assert (await put(pool, "Quill")).recorded[0].position == Position(EDITORIAL, 1)


async def test_a_slug_names_one_tool_for_ever(pool: Log) -> None:
    await put(pool, "Quill")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute("UPDATE slugs SET tool = 9")


async def test_time_does_not_go_back_within_the_house(pool: Log) -> None:
    """A head from a clock that was ahead holds the next event's time."""
    await put(pool, "Quill")
    await pool.execute("UPDATE heads SET recorded_at = now() + interval '1 hour' WHERE shard = 0")
    ahead = await pool.fetchval("SELECT recorded_at FROM heads WHERE shard = 0")
    assert (await put(pool, "Quill 2")).recorded[0].recorded_at == ahead


async def test_an_event_of_an_unknown_type_stops_its_own_tool_only(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    """As a newer version may have written it: this one must neither skip nor overwrite it."""
    await put(pool, "Quill")
    await put(pool, "Pen", slug="pen")
    await pool.execute(
        """
        INSERT INTO events (shard, position, recorded_at, type, tool, actor, id, origin, data)
        VALUES (0, 3, now(), 'ToolExploded', 1, gen_random_uuid(), gen_random_uuid(), 'test', $1)
        """,
        b'{"type": "ToolExploded"}',
    )
    await pool.execute("UPDATE heads SET position = 3 WHERE shard = 0")
    stopped = await client.put("/v1/tools/quill", json=TOOL, headers=dict(catalogue_key))
    assert_problem(stopped, 409)
    other = await client.put("/v1/tools/pen", json=TOOL, headers=dict(catalogue_key))
    assert (other.status_code, other.json()["position"]) == (200, "0.4")
