"""Rulebooks over HTTP: editors write and adopt them; everybody reads rulebooks and adoptions."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256

import httpx
import pytest

from domain.rulebooks.presets import DEFAULT, PRESETS
from domain.rulebooks.rulebook import read_rulebook
from domain.rulebooks.toml import write_rulebook
from services.api.http.broadcast import Broadcast, Subscriber
from services.api.views.tallies import read_tallies_by_slug
from services.wakeups import Wakeups
from tests.support.stage import (
    Client,
    Headers,
    Log,
    assert_problem,
    catch_up,
    count_events,
    list_tool,
    log_in,
    publish,
    seat_panel,
    vote_as,
)

MINE = 'name = "mine"\ntitle = "Ours"\nship = ">= 90%"\n'
BOOK = read_rulebook(MINE)
FOUR, SCORE = PRESETS["four-in-five"].digest, PRESETS["score-weighted"].digest
TOML = {"Content-Type": "application/toml"}
MOVE_ADOPTIONS_BACK = "UPDATE checkpoints SET position = $1 WHERE shard = 0 AND projection = 'adoptions'"


@pytest.fixture
async def editor(client: Client, pool: Log) -> Client:
    await log_in(client, pool, "ed", "editor")
    return client


async def adopt(editor: Client, wanted: str, **more: object) -> httpx.Response:
    return await editor.post(f"/v1/rulebooks/{wanted}/adopt", json={"reason": "Fairer."} | more)


async def roll_back(editor: Client) -> httpx.Response:
    return await editor.post("/v1/rulebooks/roll-back", json={"reason": "It was not."})


async def listed(client: Client, log: Log) -> dict[str, dict[str, object]]:
    await catch_up(log)
    items = (await client.get("/v1/rulebooks")).json()["items"]
    return {each["digest"]: each for each in items}


async def test_a_rulebook_is_written_as_toml_or_as_json_and_known_by_its_digest(
    editor: Client, pool: Log
) -> None:
    first = await editor.post("/v1/rulebooks", content=MINE, headers=TOML)
    assert (first.status_code, first.json()["position"]) == (201, "0.1")
    assert first.json()["digest"] == BOOK.digest
    assert BOOK.digest == "sha256:" + sha256(first.json()["canonical"].encode()).hexdigest()
    again = await editor.post("/v1/rulebooks", json={"ship": ">=0.9", "title": "Ours", "name": "mine"})
    assert (again.status_code, again.json()["position"], again.json()["digest"]) == (200, None, BOOK.digest)
    await catch_up(pool)
    for wanted in (BOOK.digest, "mine", first.headers["location"].rpartition("/")[2]):
        shown = (await editor.get(f"/v1/rulebooks/{wanted}")).json()
        assert (shown["digest"], shown["origin"], shown["in_force"]) == (BOOK.digest, "written", False)
        assert shown["toml"] == write_rulebook(BOOK)
        assert shown["rulebook"] == json.loads(shown["canonical"])


async def test_all_rulebooks_are_listed(editor: Client, pool: Log) -> None:
    await editor.post("/v1/rulebooks", content=MINE, headers=TOML)
    found = await listed(editor, pool)
    assert list(found) == [*(book.digest for book in PRESETS.values()), BOOK.digest]
    assert [each["origin"] for each in found.values()] == ["named"] * len(PRESETS) + ["written"]
    assert [digest for digest, each in found.items() if each["in_force"]] == [DEFAULT.digest]
    assert {each["adopted_at"] for each in found.values()} == {None}


INVALID_BODIES: list[tuple[bytes, dict[str, str], int]] = [
    (b'name = "mine"\nship = "> 2"', TOML, 400),
    (b'name = "mine"\nshop = ">1/2"', TOML, 400),
    (b'name = "mine"\nname = "mine"', TOML, 400),
    (b"name = ", TOML, 400),
    (b"\xff", TOML, 400),
    (b'name = "mine"\n[panel]\nweight = 1' + b"0" * 5_000, TOML, 400),
    (b'name = "mine"\n[panel]\nweight = nan', TOML, 400),
    (b"x = " + b"[" * 30_000, TOML, 400),
    (b"", TOML, 400),
    (b'{"name": "mine", "name": "mine"}', {"Content-Type": "application/json"}, 400),
    (b'{"name": "Mine"}', {"Content-Type": "application/json"}, 400),
    (b'{"name": "mine", "community": {"z": "0"}}', {"Content-Type": "application/json"}, 400),
    (b"[]", {"Content-Type": "application/json"}, 400),
    (MINE.encode(), {"Content-Type": "text/plain"}, 415),
    (MINE.encode(), {"Content-Type": "application/json"}, 400),
    (b'name = "default"\nship = ">= 90%"', TOML, 409),
    (b'name = "mine"\n# ' + b"x" * 70_000, TOML, 413),
]


async def test_an_invalid_rulebook_is_rejected(editor: Client, pool: Log) -> None:
    for body, headers, status in INVALID_BODIES:
        assert_problem(await editor.post("/v1/rulebooks", content=body, headers=headers), status)
    assert await count_events(pool) == 0


async def test_the_problem_of_an_invalid_rulebook_names_the_field(editor: Client) -> None:
    answer = await editor.post("/v1/rulebooks", json={"name": "mine", "community": {"minimum": 0}})
    assert "community.minimum" in answer.json()["detail"]


async def test_an_adoption_is_an_event_and_its_repetition_is_not(editor: Client, pool: Log) -> None:
    adopted = await adopt(editor, FOUR)
    assert (adopted.status_code, adopted.json()) == (
        200,
        {"in_force": FOUR, "scheduled": {}, "position": "0.2"},
    )
    assert (await adopt(editor, "four-in-five")).json()["position"] is None
    found = await listed(editor, pool)
    assert [digest for digest, each in found.items() if each["in_force"]] == [FOUR]
    row = await pool.fetchrow("SELECT type, recorded_at, origin FROM events WHERE shard = 0 AND position = 2")
    assert row is not None
    assert (row["type"], row["origin"]) == ("RulebookAdopted", "user:editor")
    assert datetime.fromisoformat(str(found[FOUR]["adopted_at"])) == row["recorded_at"]


async def test_roll_backs_go_back_step_by_step(editor: Client, pool: Log) -> None:
    await adopt(editor, FOUR)
    await adopt(editor, SCORE)
    assert (await roll_back(editor)).json()["in_force"] == FOUR
    assert (await roll_back(editor)).json()["in_force"] == DEFAULT.digest
    assert_problem(await roll_back(editor), 409)
    await catch_up(pool)
    answer = await editor.get("/v1/rulebooks/adoptions")
    steps = [
        (each["position"], each["step"], each["digest"], each["replaces"]) for each in answer.json()["items"]
    ]
    assert steps == [
        ("0.7", "rolled-back", DEFAULT.digest, FOUR),
        ("0.5", "rolled-back", FOUR, SCORE),
        ("0.4", "adopted", SCORE, FOUR),
        ("0.2", "adopted", FOUR, DEFAULT.digest),
    ]
    assert answer.headers["shiplog-position"].startswith("0.7,")
    assert {each["reason"] for each in answer.json()["items"]} == {"Fairer.", "It was not."}


async def test_an_adoption_is_scheduled_moved_and_called_off(editor: Client, pool: Log) -> None:
    soon = datetime.now(UTC) + timedelta(days=1)
    later = (soon + timedelta(days=1)).isoformat()
    first = await adopt(editor, FOUR, effective_at=soon.isoformat())
    assert first.json()["in_force"] == DEFAULT.digest
    assert list(first.json()["scheduled"]) == [FOUR]
    assert (await adopt(editor, FOUR, effective_at=soon.isoformat())).json()["position"] is None
    assert (await adopt(editor, FOUR, effective_at=later)).json()["position"] == "0.2"
    assert (await listed(editor, pool))[FOUR]["scheduled"] == later.replace("+00:00", "Z")
    off = await editor.post("/v1/rulebooks/four-in-five/call-off")
    assert (off.status_code, off.json()["scheduled"]) == (200, {})
    assert_problem(await editor.post("/v1/rulebooks/four-in-five/call-off"), 409)
    assert (await listed(editor, pool))[FOUR]["scheduled"] is None
    steps = [each["step"] for each in (await editor.get("/v1/rulebooks/adoptions")).json()["items"]]
    assert steps == ["called-off", "scheduled", "scheduled"]


async def test_a_scheduled_adoption_must_be_in_the_future(editor: Client, pool: Log) -> None:
    for when in ("2020-01-01T00:00:00Z", "tomorrow", "2099-01-01T00:00:00", 7, "9999-12-31T23:59:59-10:00"):
        assert_problem(await adopt(editor, FOUR, effective_at=when), 400)
    assert await count_events(pool) == 0


async def test_a_reason_is_one_line(editor: Client) -> None:
    for reason in ("", "a\nb", "x" * 201, 7, None):
        assert_problem(await adopt(editor, FOUR, reason=reason), 400)
        assert_problem(await editor.post("/v1/rulebooks/roll-back", json={"reason": reason}), 400)
    assert_problem(await editor.post(f"/v1/rulebooks/{FOUR}/adopt", json={}), 400)


async def test_an_unknown_rulebook_is_not_found(editor: Client) -> None:
    for wanted in (BOOK.digest, "mine"):
        assert_problem(await adopt(editor, wanted), 404)
        assert_problem(await editor.get(f"/v1/rulebooks/{wanted}"), 404)
        assert_problem(await editor.post(f"/v1/rulebooks/{wanted}/call-off"), 404)
    for wanted in ("sha256:0", "Mine", "a--b", "a" * 101):
        assert (await editor.get(f"/v1/rulebooks/{wanted}")).status_code in (400, 404)


async def test_everybody_reads_rulebooks(client: Client) -> None:
    for address in ("/v1/rulebooks", "/v1/rulebooks/adoptions", f"/v1/rulebooks/{FOUR}"):
        assert (await client.get(address)).status_code == 200


@pytest.fixture
async def agents(client: Client, catalogue_key: Headers, pool: Log) -> None:
    """Three takes of four say ship, at a mean score of 68.5."""
    await seat_panel(pool, "builder", "skeptic", "futurist", "pm")
    await list_tool(client, catalogue_key, "agents")
    takes = {"builder": (74, "ship"), "skeptic": (68, "ship"), "futurist": (77, "ship"), "pm": (55, "skip")}
    for reviewer, (score, choice) in takes.items():
        await publish(client, catalogue_key, "agents", reviewer, score, choice)


@pytest.mark.usefixtures("agents")
async def test_every_read_follows_the_rulebook_in_force(editor: Client, vote_key: Headers, pool: Log) -> None:
    for voter in range(20):
        await vote_as(editor, vote_key, f"voter {voter}", "skip", "agents")
    await catch_up(pool)
    before = await editor.get("/v1/tools/agents")
    moment = before.headers["shiplog-position"]
    assert before.json()["tally"]["preliminary"] is False
    await adopt(editor, "community-veto")
    await catch_up(pool)
    veto = PRESETS["community-veto"].digest
    after = await editor.get("/v1/tools/agents", headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert after.headers["etag"].partition("-")[0] == before.headers["etag"].partition("-")[0]
    card = after.json()
    assert (card["verdict"]["rulebook"], card["tally"]["preliminary"]) == (veto, True)
    assert (await editor.get("/v1/tools")).json()["items"] == [card]
    assert (await editor.get("/v1/tools/agents/verdict")).json() == card["verdict"]
    assert (await editor.get("/v1/tools/agents/tally")).json()["preliminary"] is True
    past = await editor.get("/v1/tools/agents", params={"as_of": moment})
    assert past.json() == before.json()
    by_name = {"rulebook": "default"}
    named = (await editor.get("/v1/tools/agents/verdict", params=by_name)).json()
    assert named == before.json()["verdict"] | {"position": card["verdict"]["position"]}


@pytest.mark.usefixtures("agents")
async def test_subscribers_receive_their_tallies_again_when_a_rulebook_is_adopted(
    editor: Client, vote_key: Headers, pool: Log
) -> None:
    for voter in range(12):
        await vote_as(editor, vote_key, f"voter {voter}", "ship", "agents")
    await catch_up(pool)
    tool: int = await pool.fetchval("SELECT tool FROM slugs WHERE slug = 'agents'")
    broadcast = Broadcast(partial(read_tallies_by_slug, pool), Wakeups(None), streams_max=1)
    subscriber = Subscriber({"agents": tool})
    broadcast.subscribe(subscriber)
    for name, preliminary in (("default", False), ("community-veto", True)):
        await adopt(editor, name)
        await catch_up(pool)
        async with asyncio.timeout(20):
            while not any(_received(subscriber, preliminary)):
                await subscriber.changed.wait()
    await broadcast.close()


def _received(subscriber: Subscriber, preliminary: bool) -> list[bool]:
    return [json.loads(str(frame.data))["preliminary"] is preliminary for frame in subscriber.frames()]


@pytest.mark.usefixtures("agents")
async def test_a_verdict_can_be_read_under_another_rulebook_and_follows_its_adoption(
    editor: Client, pool: Log
) -> None:
    await editor.post("/v1/rulebooks", content=MINE, headers=TOML)
    await catch_up(pool)
    moment = (await editor.get("/v1/tools/agents")).headers["shiplog-position"]
    tried = await editor.get("/v1/tools/agents/verdict", params={"rulebook": "mine"})
    assert (tried.json()["label"], tried.json()["rulebook"]) == ("Split", BOOK.digest)
    await adopt(editor, BOOK.digest)
    await catch_up(pool)
    assert (await editor.get("/v1/tools/agents/verdict")).json()["label"] == "Split"
    back = await editor.get("/v1/tools/agents/verdict", params={"as_of": moment})
    assert (back.json()["label"], back.json()["rulebook"]) == ("Ship", DEFAULT.digest)
    assert_problem(
        await editor.get("/v1/tools/agents/verdict", params={"rulebook": "mine", "as_of": "0.1"}), 404
    )


@pytest.mark.usefixtures("agents")
async def test_the_position_of_an_answer_is_not_ahead_of_the_adoptions(editor: Client, pool: Log) -> None:
    before = int((await adopt(editor, FOUR)).json()["position"].removeprefix("0.")) - 1
    await catch_up(pool)
    await pool.execute("DELETE FROM adoptions")
    await pool.execute(MOVE_ADOPTIONS_BACK, before)
    for address in ("/v1/tools/agents", "/v1/tools", "/v1/tools/agents/tally", "/v1/rulebooks"):
        assert (await editor.get(address)).headers["shiplog-position"].startswith(f"0.{before},")
    assert (await editor.get("/v1/tools/agents/verdict")).json()["rulebook"] == DEFAULT.digest
    waiting = await editor.get("/v1/tools/agents/tally", params={"min_position": f"0.{before}"})
    assert waiting.status_code == 200


@pytest.mark.usefixtures("agents")
async def test_an_adopted_rulebook_that_is_not_folded_yet_is_a_503(editor: Client, pool: Log) -> None:
    """The read model of rulebooks can be blocked while the one of adoptions is not."""
    await editor.post("/v1/rulebooks", content=MINE, headers=TOML)
    await adopt(editor, "mine")
    await catch_up(pool)
    await pool.execute("DELETE FROM rulebooks")
    assert_problem(await editor.get("/v1/tools/agents"), 503)


@pytest.mark.usefixtures("agents")
async def test_a_diff_over_an_adoption_has_the_tools_whose_label_it_changed(
    editor: Client, catalogue_key: Headers, pool: Log
) -> None:
    await list_tool(editor, catalogue_key, "pen")
    await catch_up(pool)
    start = (await editor.get("/v1/tools/agents")).headers["shiplog-position"]
    position = (await adopt(editor, FOUR)).json()["position"]
    await catch_up(pool)
    shown = (await editor.get("/v1/diff", params={"from": start, "to": position})).json()
    (agents,) = shown["tools"]
    assert [agents["verdict"][when]["label"] for when in ("before", "after")] == ["Ship", "Split"]
    assert [agents["verdict"][when]["rulebook"] for when in ("before", "after")] == [DEFAULT.digest, FOUR]
    assert agents["votes"] == []
    events = [(event["type"], event["rulebook"]) for event in shown["events"]]
    assert events == [("RulebookWritten", FOUR), ("RulebookAdopted", FOUR)]
    assert shown["events"][-1]["position"] == position
