"""The command `trial`, as an operator and a script use it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from asyncpg import Pool, Record
from click.testing import CliRunner, Result

from domain.rulebooks.presets import DEFAULT, PRESETS
from eventstore.sealed.store import Store
from services.cli.main import shiplog
from services.settings import Settings
from tests.support.sealed_history import seal_all
from tests.support.stage import Client, Headers, Log, list_tool, publish, seat_panel, vote_as

Run: TypeAlias = Callable[..., Awaitable[Result]]


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> Run:
    environment = {
        "DATABASE_URL": settings.database_url,
        "SHIPLOG_SECRET": settings.secret.decode(),
        "SHIPLOG_SEGMENTS": str(tmp_path / "segments"),
        "REDIS_URL": None,
    }

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, shiplog, arguments, env=environment)

    return run


@pytest.fixture
async def two_tools(client: Client, pool: Log, catalogue_key: Headers, vote_key: Headers) -> None:
    """Quill ships by three takes of four although every vote is skip; Nib is split."""
    for slug in ("quill", "nib"):
        await list_tool(client, catalogue_key, slug)
    await seat_panel(pool, "a", "b", "c", "d")
    for reviewer, choice in {"a": "ship", "b": "ship", "c": "ship", "d": "skip"}.items():
        await publish(client, catalogue_key, "quill", reviewer, 70, choice)
    for reviewer, choice in {"a": "ship", "b": "skip"}.items():
        await publish(client, catalogue_key, "nib", reviewer, 50, choice)
    for voter in range(12):
        await vote_as(client, vote_key, f"voter {voter}", "skip", "quill")


async def tried(run: Run, *arguments: str) -> dict[str, Any]:
    done = await run("trial", *arguments, "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def labels(report: dict[str, Any], number: int = 0) -> dict[str, tuple[str, str]]:
    tools = report["tried"][number]["trial"]["tools"]
    return {
        report["slugs"][str(each["tool"])]: (each["in_force"]["label"], each["tried"]["label"])
        for each in tools
    }


@pytest.mark.usefixtures("two_tools")
async def test_rulebooks_are_compared_side_by_side(run: Run) -> None:
    report = await tried(run, "four-in-five", PRESETS["lower-bound"].digest)
    assert labels(report) == {"quill": ("Ship", "Split"), "nib": ("Split", "Split")}
    assert labels(report, 1) == {"quill": ("Ship", "Skip"), "nib": ("Split", "Unreviewed")}
    four, lower = report["tried"]
    assert (four["against"]["name"], four["trial"]["against"]) == ("default", DEFAULT.digest)
    assert (four["totals"]["flips_now"], lower["totals"]["flips_now"]) == (1, 2)
    assert four["totals"]["disagreements"] == 1
    (flip,) = lower["trial"]["tools"][0]["tried"]["flips"]
    assert (flip["event"], flip["before"], flip["after"]) == ("VoteCast", "Unreviewed", "Skip")


@pytest.mark.usefixtures("two_tools")
async def test_tables_name_the_changes(run: Run) -> None:
    done = await run("trial", "four-in-five", "lower-bound")
    assert done.exit_code == 0, done.output
    for arguments in (
        "Against default",
        "four-in-five",
        "lower-bound",
        "quill (!)",
        "-> Split",
        "-> Skip",
        "3 votes",
    ):
        assert arguments in done.stdout, arguments


@pytest.mark.usefixtures("two_tools")
async def test_a_rulebook_from_a_file_is_tried_as_of_a_position(
    run: Run, pool: Pool[Record], tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\nship = ">= 3/4"\nskip = "<= 1/2"')
    assert labels(await tried(run, str(file))) == {"quill": ("Ship", "Ship"), "nib": ("Split", "Skip")}
    take = await pool.fetchval("SELECT min(position) FROM events WHERE type = 'TakePublished'")
    report = await tried(run, str(file), "--as-of", f"0.{take}")
    assert labels(report)["nib"] == ("Unreviewed", "Unreviewed")
    assert report["position"].startswith(f"0.{take},")


@pytest.mark.usefixtures("two_tools")
async def test_a_trial_from_segments_equals_one_from_postgres(
    run: Run, pool: Pool[Record], tmp_path: Path
) -> None:
    await seal_all(pool, Store(tmp_path / "segments"))
    asked = ("sixty-days", "--from")
    from_postgres, from_segments = [await tried(run, *asked, source) for source in ("postgres", "segments")]
    assert from_postgres["tried"][0]["trial"]["tools"] == from_segments["tried"][0]["trial"]["tools"]


@pytest.mark.parametrize("arguments", [["nothing-like-it"], ["default", "--as-of", "yesterday"], []])
async def test_wrong_arguments_are_refused(run: Run, arguments: list[str]) -> None:
    done = await run("trial", *arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.output
