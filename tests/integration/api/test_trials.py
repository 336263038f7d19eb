"""Trials over HTTP: an editor asks for one, a worker runs it, and the result is shown; nobody else may."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from domain.rulebooks.presets import DEFAULT, PRESETS
from domain.timeline.trials import Trial
from eventstore.sealed.seal import SealPlan
from eventstore.sealed.store import Store
from projections.trials import jobs as trials
from projections.trials import worker as trial_worker
from services.embedded.postgres import Postgres
from services.resources import Sealing
from services.workers.jobs import Context
from services.workers.trials import run_trials
from tests.integration.conftest import fresh_database, stage_on
from tests.support.instances import COMMAND
from tests.support.sealed_history import seal_all
from tests.support.stage import (
    Client,
    Log,
    Stage,
    assert_problem,
    catch_up,
    list_tool,
    log_in,
    new_visitor,
    publish,
    retire_tool,
    seat_panel,
    vote_as,
)

FOUR_IN_FIVE, LOWER_BOUND = PRESETS["four-in-five"], PRESETS["lower-bound"]
CHOICES = {"quill": ("ship", "ship", "skip"), "slate": ("ship", "ship", "ship"), "chalk": ("ship", "skip")}


@pytest.fixture(scope="module")
async def lab(postgres: Postgres, template: str) -> AsyncIterator[Stage]:
    """Three tools: two thirds, all and half of their takes say ship. One has twelve votes for skip. The client is an editor."""
    async with fresh_database(postgres, template, "lab") as settings, stage_on(settings) as stage:
        await fill(stage)
        await log_in(stage.client, stage.log, "ed", "editor")
        yield stage


@pytest.fixture
async def editor(lab: Stage) -> Client:
    """Without trials."""
    await lab.log.execute("DELETE FROM trials")
    return lab.client


@pytest.fixture
def pool(lab: Stage) -> Log:
    return lab.log


async def fill(stage: Stage) -> None:
    for slug in CHOICES:
        await list_tool(stage.client, stage.catalogue_key, slug, name=slug.title())
    await seat_panel(stage.log, "builder", "skeptic", "pm")
    for slug, choices in CHOICES.items():
        for reviewer, choice in zip(("builder", "skeptic", "pm"), choices, strict=False):
            score = 80 if choice == "ship" else 20
            await publish(stage.client, stage.catalogue_key, slug, reviewer, score, choice)
    for number in range(12):
        await vote_as(stage.client, stage.vote_key, f"v{number}", "skip", "slate")
    await catch_up(stage.log)


async def ask_for_trial(editor: Client, rulebook: str = FOUR_IN_FIVE.digest) -> httpx.Response:
    return await editor.post(f"/v1/rulebooks/{rulebook}/trial")


async def run_all_trials(pool: Log) -> int:
    return await run_trials(Context(pool=pool, wakeups=None))  # type: ignore[typeddict-item]


async def result_of(editor: Client, pool: Log, rulebook: str) -> dict[str, Any]:
    address = (await ask_for_trial(editor, rulebook)).headers["location"]
    await run_all_trials(pool)
    answer: dict[str, Any] = (await editor.get(address)).json()
    assert answer["state"] == "done", answer
    return answer


async def test_a_trial_lists_the_verdicts_that_would_flip(editor: Client, pool: Log) -> None:
    asked = await ask_for_trial(editor, "four-in-five")
    assert (asked.status_code, asked.json()["state"], asked.json()["totals"]) == (202, "running", None)
    assert (await editor.get(asked.headers["location"])).json()["flips_now"] is None
    assert await run_all_trials(pool) == 1
    done = (await editor.get(asked.headers["location"])).json()
    assert (done["state"], done["progress"]["done"]) == ("done", done["progress"]["total"])
    assert (done["rulebook"]["digest"], done["against"]["name"]) == (FOUR_IN_FIVE.digest, "default")
    quill = {"slug": "quill", "name": "Quill", "before": "Ship", "after": "Split"}
    assert done["flips_now"] == [quill | {"margin": {"votes": None, "takes": 1}}]
    assert {each["slug"]: (each["count"], each["in_force"]) for each in done["flips"]}["quill"] == (2, 1)
    newest = done["flips"][0]["items"][0]
    assert (newest["before"], newest["after"], newest["event"]) == ("Ship", "Split", "TakePublished")
    assert [each["slug"] for each in done["disagreements"]] == ["slate"]
    assert [each["slug"] for each in done["margins"]] == ["chalk", "quill", "slate"]
    assert done["totals"]["tools"] == 3


async def test_votes_decide_under_a_rulebook_that_weighs_them(editor: Client, pool: Log) -> None:
    found = await result_of(editor, pool, LOWER_BOUND.digest)
    after = {each["slug"]: each["after"] for each in found["flips_now"]}
    assert after == {"chalk": "Unreviewed", "quill": "Unreviewed", "slate": "Skip"}
    assert [each["slug"] for each in found["disagreements"]] == ["slate"]
    slate = next(each for each in found["margins"] if each["slug"] == "slate")
    assert slate["tried"] == {"label": "Skip", "margin": {"votes": 3, "takes": None}}
    assert {each["slug"] for each in found["rank_moves"]} <= {"chalk", "quill", "slate"}


async def test_a_trial_of_the_rulebook_in_force_flips_nothing(editor: Client, pool: Log) -> None:
    found = await result_of(editor, pool, DEFAULT.digest)
    assert (found["flips_now"], found["rank_moves"]) == ([], [])
    assert found["totals"]["flips"] == found["totals"]["flips_in_force"] > 0
    assert all(each["in_force"] == each["tried"] for each in found["margins"])


async def test_flips_of_a_tool_are_limited_by_a_parameter(editor: Client, pool: Log) -> None:
    found = await result_of(editor, pool, FOUR_IN_FIVE.digest)
    few = (await editor.get(f"/v1/trials/{found['id']}?flips=1")).json()["flips"]
    assert [(each["count"], len(each["items"])) for each in few if each["slug"] == "quill"] == [(2, 1)]


async def test_compared_trials_have_a_row_a_tool(editor: Client, pool: Log) -> None:
    ids = [(await result_of(editor, pool, each.digest))["id"] for each in (FOUR_IN_FIVE, LOWER_BOUND)]
    found = (await editor.get("/v1/trials/compare", params={"ids": ",".join(ids)})).json()
    assert [each["id"] for each in found["trials"]] == ids
    labels = {row["slug"]: [cell["tried"] for cell in row["cells"]] for row in found["items"]}
    assert labels == {
        "quill": ["Split", "Unreviewed"],
        "chalk": ["Split", "Unreviewed"],
        "slate": ["Ship", "Skip"],
    }
    assert found["items"][0]["slug"] == "quill"
    listed = (await editor.get("/v1/trials")).json()["items"]
    assert [each["id"] for each in listed] == ids[::-1]


async def test_trials_that_cannot_be_compared_are_rejected(editor: Client) -> None:
    running = (await ask_for_trial(editor)).json()["id"]
    for ids, status in ((running, 409), (str(uuid4()), 404), ("seven", 400), (",".join([running] * 2), 409)):
        assert_problem(await editor.get("/v1/trials/compare", params={"ids": ids}), status)
    many = ",".join(str(uuid4()) for _ in range(9))
    assert_problem(await editor.get("/v1/trials/compare", params={"ids": many}), 400)


async def test_a_rulebook_has_one_trial_at_a_time_until_it_is_cancelled(editor: Client, pool: Log) -> None:
    first = (await ask_for_trial(editor)).json()
    again = await ask_for_trial(editor)
    assert (again.status_code, again.json()["type"]) == (409, "urn:shiplog:under-way")
    assert first["id"] in again.json()["detail"]
    assert (await ask_for_trial(editor, LOWER_BOUND.digest)).status_code == 202
    cancelled = await editor.post(f"/v1/trials/{first['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert_problem(await editor.post(f"/v1/trials/{first['id']}/cancel"), 409)
    assert await run_all_trials(pool) == 1
    assert (await editor.get(f"/v1/trials/{first['id']}")).json()["state"] == "cancelled"
    assert (await ask_for_trial(editor)).status_code == 202


async def test_a_running_trial_stops_when_it_is_cancelled(editor: Client, pool: Log) -> None:
    asked = UUID((await ask_for_trial(editor)).json()["id"])
    begun, stopped, progress = asyncio.Event(), asyncio.Event(), trial_worker.TrialProgress()

    async def endless_trial() -> Trial:
        progress.report(3, 7)
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        raise AssertionError

    task = asyncio.create_task(trial_worker._run_until_cancelled(pool, asked, endless_trial(), progress))
    await begun.wait()
    while (now := await trials.read_trial(pool, asked)).done == 0:
        pass
    assert (now.state, now.done, now.total) == ("running", 3, 7)
    assert now.eta_seconds is None  # no worker has claimed it
    await editor.post(f"/v1/trials/{asked}/cancel")
    assert await task is None
    assert stopped.is_set()


async def test_unknown_rulebooks_and_trials_are_not_found(editor: Client) -> None:
    assert_problem(await ask_for_trial(editor, "sha256:" + "0" * 64), 404)
    assert_problem(await editor.get(f"/v1/trials/{uuid4()}"), 404)
    assert_problem(await editor.post(f"/v1/trials/{uuid4()}/cancel"), 404)


async def test_only_editors_may_see_trials(lab: Stage) -> None:
    client = new_visitor(lab.client)
    for headers, status in (({}, 401), (dict(lab.catalogue_key), 403)):
        trial = f"/v1/rulebooks/{FOUR_IN_FIVE.digest}/trial"
        assert_problem(await client.post(trial, headers=headers), status)
        for address in ("/v1/trials", f"/v1/trials/{UUID(int=0)}", "/v1/trials/compare?ids=a"):
            assert_problem(await client.get(address, headers=headers), status)


async def test_a_trial_ends_at_the_position_at_which_it_was_asked_for(editor: Client, lab: Stage) -> None:
    asked = (await ask_for_trial(editor)).json()
    await list_tool(editor, lab.catalogue_key, "ink")
    await catch_up(lab.log)
    await run_all_trials(lab.log)
    await retire_tool(editor, lab.catalogue_key, "ink")
    await catch_up(lab.log)
    done = (await editor.get(f"/v1/trials/{asked['id']}")).json()
    assert (done["position"], done["totals"]["tools"]) == (asked["position"], 3)


async def test_the_trial_of_a_killed_worker_is_run_again_by_another(
    editor: Client, lab: Stage, pool: Log
) -> None:
    """It is killed while it waits for a locked table."""
    asked = UUID((await ask_for_trial(editor)).json()["id"])
    holder = await asyncpg.connect(lab.settings.database_url)
    async with holder.transaction():
        await holder.execute("LOCK TABLE checkpoints IN ACCESS EXCLUSIVE MODE")
        worker = await start_worker(lab)
        while await attempts(pool, asked) == 0:
            assert worker.returncode is None
        worker.kill()
        await worker.wait()
        assert (await trials.read_trial(pool, asked)).state == "running"
    await holder.close()
    begun = await attempts(pool, asked)
    while (
        await trials.read_trial(pool, asked)
    ).state == "running":  # until Postgres notices that the connection is closed
        await run_all_trials(pool)
    assert (await trials.read_trial(pool, asked)).state == "done"
    assert await attempts(pool, asked) == begun + 1


async def test_segments_are_read_if_they_are_whole_and_else_postgres(
    editor: Client, pool: Log, tmp_path: Path
) -> None:
    sealing = Sealing(Store(tmp_path), SealPlan(), threads=1)
    last = (await seal_all(pool, sealing.store))[-1]
    found = []
    for damage in (b"", b"damage"):
        with sealing.store.path(last).open("ab") as file:
            file.write(damage)
        asked = UUID((await ask_for_trial(editor, LOWER_BOUND.digest)).json()["id"])
        await run_trials(Context(pool=pool, wakeups=None, sealing=sealing))  # type: ignore[typeddict-item]
        found.append((await trials.read_results(pool, [asked]))[asked])
        assert await attempts(pool, asked) == (2 if damage else 1)
    assert found[0].tools == found[1].tools
    assert [each.tried.label for each in found[0].tools] == ["Unreviewed", "Skip", "Unreviewed"]


async def attempts(pool: Log, id: UUID) -> int:
    return int(await pool.fetchval("SELECT attempts FROM trials WHERE id = $1", id))


async def start_worker(lab: Stage) -> asyncio.subprocess.Process:
    environment = {
        **os.environ,
        "DATABASE_URL": lab.settings.database_url,
        "SHIPLOG_SECRET": lab.settings.secret.decode(),
        "REDIS_URL": "",
    }
    return await asyncio.create_subprocess_exec(
        *COMMAND, "work", env=environment, stderr=asyncio.subprocess.DEVNULL
    )


async def test_a_trial_fails_after_too_many_attempts(editor: Client, pool: Log) -> None:
    asked = UUID((await ask_for_trial(editor)).json()["id"])
    await pool.execute("UPDATE trials SET attempts = $2 WHERE id = $1", asked, trial_worker.ATTEMPTS_MAX)
    await run_all_trials(pool)
    failed = (await editor.get(f"/v1/trials/{asked}")).json()
    assert (failed["state"], failed["flips_now"]) == ("failed", None)
    assert "began this trial 5 times" in failed["error"]


async def test_a_failing_trial_does_not_stop_the_others(editor: Client, pool: Log) -> None:
    broken = UUID((await ask_for_trial(editor)).json()["id"])
    other = (await ask_for_trial(editor, LOWER_BOUND.digest)).json()["id"]
    await pool.execute("UPDATE trials SET rulebook = 'sha256:gone' WHERE id = $1", broken)
    await run_all_trials(pool)
    assert (await trials.read_trial(pool, broken)).state == "failed"
    assert (await editor.get(f"/v1/trials/{other}")).json()["state"] == "done"
