"""The commands `adopt` and `rulebooks`, as operators and scripts use them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import CliRunner, Result

from domain.rulebooks.presets import DEFAULT, PRESETS
from domain.rulebooks.rulebook import read_rulebook
from domain.rulebooks.toml import write_rulebook
from services.cli.main import shiplog
from services.settings import Settings
from tests.support.stage import Log, count_events

Run: TypeAlias = Callable[..., Awaitable[Result]]
FOUR = PRESETS["four-in-five"].digest
MINE = read_rulebook('name = "mine"\nship = ">= 2/3"')


@pytest.fixture
def run(settings: Settings) -> Run:
    environment = {
        "DATABASE_URL": settings.database_url,
        "SHIPLOG_SECRET": settings.secret.decode(),
        "REDIS_URL": None,
    }

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, shiplog, arguments, env=environment)

    return run


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(write_rulebook(MINE))
    return str(path)


async def in_force(run: Run) -> dict[str, object]:
    listed = json.loads((await run("rulebooks", "--json")).stdout)
    (found,) = [each for each in listed if each["in_force"]]
    return dict(found)


async def test_a_rulebook_is_adopted_by_name_and_rolled_back(run: Run, pool: Log) -> None:
    assert (await in_force(run))["digest"] == DEFAULT.digest
    done = await run("adopt", "four-in-five", "--reason", "Stricter.", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (
        0,
        {"in_force": FOUR, "name": "four-in-five", "scheduled": {}, "position": "0.2"},
    )
    again = await run("adopt", FOUR, "--reason", "Stricter.")
    assert again.exit_code == 0
    assert "nothing was changed" in again.stdout
    assert (await in_force(run))["digest"] == FOUR
    back = await run("adopt", "--roll-back", "--reason", "It was not.")
    assert (back.exit_code, (await in_force(run))["digest"]) == (0, DEFAULT.digest)
    origins = await pool.fetch("SELECT DISTINCT origin FROM events")
    assert [row["origin"] for row in origins] == ["command"]


async def test_a_rulebook_from_a_file_is_stored_and_adopted(run: Run, mine: str) -> None:
    checked = await run("rulebooks", "check", mine, "--json")
    assert (checked.exit_code, json.loads(checked.stdout)["digest"]) == (0, MINE.digest)
    assert (await run("adopt", mine, "--reason", "Ours.")).exit_code == 0
    assert (await in_force(run)) | {"title": ""} == {
        "digest": MINE.digest,
        "name": "mine",
        "title": "",
        "origin": "written",
        "in_force": True,
        "scheduled": None,
    }
    shown = await run("rulebooks", "show", "mine")
    assert shown.stdout == f"# {MINE.digest}\n{write_rulebook(MINE)}"
    assert (await run("rulebooks", "show", MINE.digest, "--json")).stdout_bytes.rstrip() == MINE.canonical
    assert "mine" in (await run("rulebooks")).stdout


async def test_an_adoption_is_scheduled_and_cancelled(run: Run) -> None:
    when = "2099-01-01T00:00:00Z"
    done = await run("adopt", FOUR, "--reason", "Stricter.", "--at", when, "--json")
    assert json.loads(done.stdout) == {
        "in_force": DEFAULT.digest,
        "name": "default",
        "scheduled": {FOUR: when},
        "position": "0.1",
    }
    assert "2099" in (await run("rulebooks")).stdout
    off = await run("adopt", "four-in-five", "--call-off", "--json")
    assert json.loads(off.stdout)["scheduled"] == {}


WRONG_ARGUMENTS = [
    ("adopt",),
    ("adopt", "four-in-five"),
    ("adopt", "four-in-five", "--reason", ""),
    ("adopt", "four-in-five", "--reason", "two\nlines"),
    ("adopt", "four-in-five", "--reason", "x", "--roll-back"),
    ("adopt", "four-in-five", "--reason", "x", "--at", "0.1"),
    ("adopt", "four-in-five", "--reason", "x", "--at", "tomorrow"),
    ("adopt", "four-in-five", "--reason", "x", "--at", "2001-01-01T00:00:00Z"),
    ("adopt", "nobody", "--reason", "x"),
    ("adopt", "four-in-five", "--call-off"),
    ("adopt", "--roll-back", "--reason", "x"),
    ("rulebooks", "show", "nobody"),
    ("rulebooks", "check", "/nowhere.toml"),
]


async def test_wrong_arguments_are_refused(run: Run, pool: Log) -> None:
    for arguments in WRONG_ARGUMENTS:
        done = await run(*arguments)
        assert (done.exit_code, done.stdout) == (2, ""), done.output
        assert "Error" in done.stderr
    assert await count_events(pool) == 0


async def test_an_invalid_file_is_refused(run: Run, pool: Log, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_bytes(b'name = "wrong"\nship = "> 2"\n')
    checked = await run("rulebooks", "check", str(path))
    assert (checked.exit_code, checked.stdout) == (1, "")
    assert "`ship`" in checked.stderr
    assert json.loads((await run("rulebooks", "check", str(path), "--json")).stdout)["valid"] is False
    assert (await run("adopt", str(path), "--reason", "x")).exit_code == 2
    path.write_bytes(b"\xff")
    assert (await run("rulebooks", "check", str(path))).exit_code == 1
    assert await count_events(pool) == 0
