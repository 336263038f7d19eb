"""Takes over HTTP: published, superseded and withdrawn, with their history; reviewers change only their own."""

from __future__ import annotations

import pytest

from tests.support.stage import (
    Client,
    Headers,
    Log,
    assert_problem,
    catch_up,
    count_events,
    log_in,
    publish,
    retire_tool,
    seat_panel,
)

pytestmark = pytest.mark.usefixtures("quill")


@pytest.fixture
async def panel(pool: Log) -> None:
    await seat_panel(pool, "builder", "skeptic")


async def take_of(client: Client, log: Log, reviewer: str) -> object:
    await catch_up(log)
    rows = (await client.get("/v1/tools/quill")).json()["scorecard"]
    return {row["reviewer"]["slug"]: row["take"] for row in rows}[reviewer]


@pytest.mark.usefixtures("panel")
async def test_a_take_is_published_superseded_and_withdrawn(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    first = await publish(client, catalogue_key, "quill", "builder", 80, "ship", "It holds.")
    assert (first.status_code, first.json()) == (201, {"revision": 1, "position": "0.4"})
    newer = await publish(client, catalogue_key, "quill", "builder", 30, "skip", "It broke.")
    assert (newer.status_code, newer.json()) == (200, {"revision": 2, "position": "0.5"})
    shown = await take_of(client, pool, "builder")
    assert isinstance(shown, dict)
    assert (shown["score"], shown["choice"], shown["text"], shown["revision"]) == (30, "skip", "It broke.", 2)

    withdrawn = await client.delete("/v1/tools/quill/takes/builder", headers=catalogue_key)
    assert (withdrawn.status_code, withdrawn.json()) == (200, {"revision": 3, "position": "0.6"})
    assert await take_of(client, pool, "builder") is None
    assert (await client.get("/v1/tools/quill/verdict")).json()["label"] == "Unreviewed"


@pytest.mark.usefixtures("panel")
async def test_the_same_take_again_changes_nothing(client: Client, catalogue_key: Headers, pool: Log) -> None:
    await publish(client, catalogue_key, "quill", "builder", 80, "ship")
    before = await count_events(pool)
    again = await publish(client, catalogue_key, "quill", "builder", 80, "ship")
    assert (again.status_code, again.json()) == (200, {"revision": 1, "position": None})
    assert (await client.delete("/v1/tools/quill/takes/skeptic", headers=catalogue_key)).json()[
        "position"
    ] is None
    assert await count_events(pool) == before


@pytest.mark.usefixtures("panel")
async def test_earlier_takes_stay_readable_newest_first(client: Client, catalogue_key: Headers) -> None:
    await publish(client, catalogue_key, "quill", "builder", 80, "ship", "It holds.")
    await publish(client, catalogue_key, "quill", "builder", 30, "skip", "It broke.")
    await client.delete("/v1/tools/quill/takes/builder", headers=catalogue_key)
    past = (await client.get("/v1/tools/quill/takes/builder/history")).json()["items"]
    assert [(each["revision"], each["score"], each["choice"], each["text"]) for each in past] == [
        (3, None, None, None),
        (2, 30, "skip", "It broke."),
        (1, 80, "ship", "It holds."),
    ]
    assert (await client.get("/v1/tools/quill/takes/skeptic/history")).json()["items"] == []


@pytest.mark.usefixtures("panel")
async def test_takes_of_unknown_tools_and_reviewers_are_not_found(
    client: Client, catalogue_key: Headers
) -> None:
    assert_problem(await publish(client, catalogue_key, "pen", "builder", 80, "ship"), 404)
    assert_problem(await publish(client, catalogue_key, "quill", "nobody", 80, "ship"), 404)
    assert_problem(await client.get("/v1/tools/pen/takes/builder/history"), 404)
    assert_problem(await client.delete("/v1/tools/pen/takes/builder", headers=dict(catalogue_key)), 404)


@pytest.mark.usefixtures("panel")
async def test_a_retired_tool_accepts_no_takes_and_keeps_its_own(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    await publish(client, catalogue_key, "quill", "builder", 80, "ship")
    await retire_tool(client, catalogue_key)
    assert_problem(await publish(client, catalogue_key, "quill", "builder", 81, "ship"), 410)
    assert_problem(await client.delete("/v1/tools/quill/takes/builder", headers=dict(catalogue_key)), 410)
    assert await take_of(client, pool, "builder") is not None


@pytest.mark.usefixtures("panel")
async def test_a_reviewer_changes_only_their_own_take(client: Client, pool: Log) -> None:
    await log_in(client, pool, "bea", "reviewer", "builder")
    assert (await publish(client, {}, "quill", "builder", 80, "ship")).status_code == 201
    before = await count_events(pool)
    assert_problem(await publish(client, {}, "quill", "skeptic", 0, "skip"), 403)
    assert_problem(await client.delete("/v1/tools/quill/takes/skeptic"), 403)
    assert await count_events(pool) == before
    assert (await client.delete("/v1/tools/quill/takes/builder")).status_code == 200


@pytest.mark.usefixtures("panel")
async def test_an_editor_changes_every_take(client: Client, pool: Log) -> None:
    await log_in(client, pool, "ed", "editor")
    assert (await publish(client, {}, "quill", "builder", 80, "ship")).status_code == 201
    assert (await publish(client, {}, "quill", "skeptic", 20, "skip")).status_code == 201


@pytest.mark.usefixtures("panel")
async def test_the_author_is_in_the_log_as_a_pseudonym(client: Client, pool: Log) -> None:
    await log_in(client, pool, "bea.arthur", "reviewer", "builder")
    await publish(client, {}, "quill", "builder", 80, "ship")
    row = await pool.fetchrow("SELECT origin, events::text FROM events WHERE type = 'TakePublished'")
    assert row is not None
    assert row["origin"] == "user:reviewer"
    assert "bea.arthur" not in row["events"]
