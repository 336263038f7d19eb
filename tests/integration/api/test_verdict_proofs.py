"""Proofs of verdicts: the same bytes over HTTP and from the command, confirmed by the verifier that Shiplog serves."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from domain.rulebooks.presets import DEFAULT, PRESETS
from services.settings import Settings
from tests.support.stage import (
    Client,
    Headers,
    Log,
    assert_problem,
    catch_up,
    list_tool,
    publish,
    seat_panel,
    vote_as,
)

Command: TypeAlias = Callable[..., Awaitable[tuple[int, str, str]]]
PROOF = "/v1/tools/quill/verdict/proof"
EAGER = 'name = "eager"\n[panel]\nweight = 0\n[community]\nweight = 1\nminimum = 2\nhalf_life_days = 7'


@pytest.fixture
async def quill(client: Client, catalogue_key: Headers, vote_key: Headers, pool: Log) -> None:
    """Two takes for ship and one against; three votes against and one for."""
    await list_tool(client, catalogue_key)
    await seat_panel(pool, "builder", "skeptic", "pm")
    for reviewer, score, choice in (("builder", 74, "ship"), ("skeptic", 68, "ship"), ("pm", 55, "skip")):
        assert (
            await publish(client, catalogue_key, "quill", reviewer, score, choice, "“quoted”")
        ).status_code == 201
    for number, choice in enumerate(("skip", "skip", "ship", "skip")):
        await vote_as(client, vote_key, f"voter {number}", choice)
    await catch_up(pool)


@pytest.fixture
def shiplog(settings: Settings) -> Command:
    """Status, output and errors of a command on the test's log."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "REDIS_URL"},
        "DATABASE_URL": settings.database_url,
        "SHIPLOG_SECRET": settings.secret.decode(),
        "NO_COLOR": "1",
    }

    async def run(*arguments: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "services.cli", *arguments]
        process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment)
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    return run


@pytest.mark.parametrize("rulebook", [None, "sixty-days", PRESETS["community-veto"].digest])
async def test_the_served_verifier_confirms_the_served_proof(
    quill: None, client: Client, tmp_path: Path, rulebook: str | None
) -> None:
    params = {"rulebook": rulebook} if rulebook else {}
    proof, shown = (
        await client.get(PROOF, params=params),
        await client.get("/v1/tools/quill/verdict", params=params),
    )
    program = await client.get("/static/verify_verdict.py")
    assert program.headers["content-type"].startswith("text/x-python")
    (tmp_path / "verify_verdict.py").write_bytes(program.content)
    command = [sys.executable, "-I", "-S", "verify_verdict.py", "-"]
    done = await asyncio.to_thread(
        subprocess.run, command, input=proof.content, capture_output=True, env={}, cwd=tmp_path, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
    verdict = json.loads(done.stdout)
    assert {name: verdict[name] for name in ("label", "margin", "explanation", "inputs", "rulebook")} == {
        name: shown.json()[name] for name in ("label", "margin", "explanation", "inputs", "rulebook")
    }


async def test_a_proof_names_its_positions_and_is_the_same_as_of_them(
    quill: None, client: Client, vote_key: Headers, pool: Log
) -> None:
    proof = await client.get(PROOF)
    bundle = proof.json()
    assert (bundle["format"], bundle["tool"]) == ("shiplog-verdict-1", "quill")
    assert bundle["positions"] == proof.headers["shiplog-position"]
    assert bundle["inputs"]["takes"][0] == {"choice": "ship", "reviewer": "builder", "score": 74}
    assert proof.headers["content-type"] == "application/json"
    again = await client.get(PROOF, headers={"If-None-Match": proof.headers["etag"]})
    assert again.status_code == 304

    await vote_as(client, vote_key, "late", "ship")
    await catch_up(pool)
    assert (await client.get(PROOF)).content != proof.content
    then = await client.get(PROOF, params={"as_of": bundle["positions"]})
    assert then.content == proof.content


async def test_the_command_writes_the_same_bytes(
    quill: None, client: Client, shiplog: Command, tmp_path: Path
) -> None:
    status, printed, _ = await shiplog("verdict", "quill", "--prove", "-")
    assert (status, printed.encode()) == (0, (await client.get(PROOF)).content)
    file = tmp_path / "proof.json"
    status, shown, _ = await shiplog("verdict", "quill", "--prove", str(file), "--rulebook", "sixty-days")
    assert (status, shown.splitlines()[0]) == (0, "quill: Ship")
    assert file.read_bytes() == (await client.get(PROOF, params={"rulebook": "sixty-days"})).content


async def test_the_command_prints_the_verdict_and_its_explanation(
    quill: None, shiplog: Command, tmp_path: Path
) -> None:
    _, block, _ = await shiplog("verdict", "quill")
    assert block.splitlines()[:9] == [
        "quill: Ship",
        "  why        The panel decided.",
        "             2 of 3 takes say ship; by choice the panel's share is 0.6667.",
        "             4 community votes are shown beside the verdict; this rulebook does not weigh them.",
        "             Ship takes above 1/2 and Skip below 1/2; the share is 0.6667, which is Ship.",
        "             0.1667 of a share is missing to Split.",
        "  panel      2 ship, 1 skip, share 0.6667, mean score 65.7",
        "  community  1 ship, 3 skip, share 0.2500, 0.0456 to 0.6994",
        "  margin     1 take, no number of votes",
    ]
    assert DEFAULT.digest in block
    (tmp_path / "eager.toml").write_text(EAGER)
    _, out, _ = await shiplog("verdict", "quill", "--rulebook", str(tmp_path / "eager.toml"), "--json")
    shown = json.loads(out)
    assert (shown["tool"], shown["verdict"]["label"], shown["verdict"]["margin"]) == (
        "quill",
        "Skip",
        {"votes": 2, "takes": None},
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quill", "--rulebook", "nobody"], "There is no rulebook 'nobody'"),
        (["quill", "--as-of", "yesterday"], "This is not a point in time"),
        (["quill", "--as-of", "2020-01-01T00:00:00Z"], "was not listed yet"),
    ],
)
async def test_the_command_names_the_wrong_argument(
    quill: None, shiplog: Command, arguments: list[str], message: str
) -> None:
    status, out, err = await shiplog("verdict", *arguments)
    assert (status, out) == (2, "")
    assert message in " ".join(err.replace("│", " ").split())


async def test_a_proof_without_a_tool_a_rulebook_or_a_past_is_a_problem(
    quill: None, client: Client, catalogue_key: Headers
) -> None:
    await list_tool(client, catalogue_key, "not-folded-yet")
    assert_problem(await client.get("/v1/tools/not-folded-yet/verdict/proof"), 503)
    assert_problem(await client.get("/v1/tools/nobody/verdict/proof"), 404)
    assert_problem(await client.get(PROOF, params={"rulebook": "nobody"}), 404)
    assert_problem(await client.get(PROOF, params={"as_of": "2020-01-01T00:00:00Z"}), 404)
