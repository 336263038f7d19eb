"""`shiplog reviewers` and `shiplog users`: what they change, print, and refuse in one line with exit status 2."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
from click.testing import CliRunner, Result

from services.cli.main import shiplog
from services.settings import Settings

Run: TypeAlias = Callable[..., Awaitable[Result]]


@pytest.fixture
def run(settings: Settings) -> Run:
    environment = {
        "DATABASE_URL": settings.database_url,
        "SHIPLOG_SECRET": settings.secret.decode(),
        "REDIS_URL": None,
    }

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, shiplog, words, env=environment)

    return run


def printed(result: Result) -> object:
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def names(result: Result) -> list[str]:
    listed = printed(result)
    assert isinstance(listed, list)
    return [each["name"] for each in listed]


def assert_refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    said = " ".join(result.output.replace("│", " ").split())
    assert [word for word in words if word not in said] == []


async def test_a_panel_is_seated_revised_ordered_retired_and_restored(run: Run) -> None:
    assert "Nobody is seated" in (await run("reviewers", "list")).output
    assert printed(await run("reviewers", "list", "--json")) == []
    put = ("reviewers", "put", "builder", "--name", "Builder", "--tagline", "Builds.", "--bio", "Has built.")
    assert printed(await run(*put, "--json")) == {"slug": "builder", "revision": 1, "position": "0.1"}
    assert (
        await run("reviewers", "put", "skeptic", "--name", "Skeptic")
    ).output == "skeptic: revision 1\nrecorded at 0.2\n"
    assert printed(await run("reviewers", "put", "builder", "--name", "The Builder", "--json")) == {
        "slug": "builder", "revision": 2, "position": "0.3",
    }  # fmt: skip
    (await run("reviewers", "put", "builder", "--tagline", ""))
    assert (await run("reviewers", "put", "builder", "--tagline", "")).output.endswith(
        "nothing was changed\n"
    )
    assert printed(await run("reviewers", "order", "skeptic", "builder", "--json")) == {
        "order": ["skeptic", "builder"], "position": "0.6",
    }  # fmt: skip
    (await run("reviewers", "retire", "skeptic"))
    lines = printed(await run("reviewers", "list", "--json"))
    assert lines == [
        {"slug": "builder", "name": "The Builder", "tagline": "", "bio": "Has built.", "seat": 2, "revision": 3,
         "retired": False},
        {"slug": "skeptic", "name": "Skeptic", "tagline": "", "bio": "", "seat": 1, "revision": 2, "retired": True},
    ]  # fmt: skip
    (await run("reviewers", "restore", "skeptic"))
    assert (await run("reviewers", "list")).output.startswith("skeptic  Skeptic  revision 3\n")


async def test_what_cannot_be_done_to_the_panel_is_refused(run: Run) -> None:
    (await run("reviewers", "put", "builder", "--name", "Builder"))
    (await run("reviewers", "put", "pm", "--name", "PM"))
    (await run("reviewers", "retire", "pm"))
    assert_refused((await run("reviewers", "put", "nobody")), "--name")
    assert_refused((await run("reviewers", "put", "nobody", "--name", "")), "--name: one line")
    assert_refused((await run("reviewers", "put", "No Body", "--name", "N")), "SLUG: lower-case")
    assert_refused((await run("reviewers", "put", "order", "--name", "N")), "part of an address")
    assert_refused(
        (await run("reviewers", "put", "builder", "--name", "B", "--revision", "0")), "at revision 1, not 0"
    )
    assert_refused((await run("reviewers", "put", "pm", "--name", "B")), "retired", "Restore")
    assert_refused((await run("reviewers", "retire", "nobody")), "no reviewer 'nobody'")
    assert_refused((await run("reviewers", "order", "builder", "pm")), "names without a seat pm")
    assert_refused((await run("reviewers", "order")), "Missing argument")


async def test_users_are_created_listed_changed_and_removed(run: Run) -> None:
    (await run("reviewers", "put", "builder", "--name", "Builder"))
    assert "There are no users" in (await run("users", "list")).output
    ada = printed(await run("users", "create", "ada", "--role", "editor", "--json"))
    assert isinstance(ada, dict)
    printed(await run("users", "create", "bob", "--role", "reviewer", "--reviewer", "builder", "--json"))
    assert printed(await run("users", "list", "--json")) == [
        {"name": "ada", "role": "editor", "reviewer": None, "sessions": 0},
        {"name": "bob", "role": "reviewer", "reviewer": "builder", "sessions": 0},
    ]
    assert (
        await run("users", "list")
    ).output == "ada  editor  0 open sessions\nbob  reviewer (builder)  0 open sessions\n"
    new = printed(await run("users", "password", "ada", "--json"))
    assert isinstance(new, dict)
    assert (new["name"], new["role"]) == ("ada", "editor")
    assert new["password"] != ada["password"]
    assert (await run("users", "role", "bob", "editor")).exit_code == 0
    assert (await run("users", "role", "ada", "reviewer", "--reviewer", "builder")).exit_code == 0
    assert (await run("users", "sessions", "ada")).output == "ada has no open sessions.\n"
    assert printed(await run("users", "sessions", "ada", "--end", "--json")) == {"ended": 0}
    assert (await run("users", "remove", "ada")).output == "removed\n"
    assert names(await run("users", "list", "--json")) == ["bob"]


async def test_what_cannot_be_done_to_users_is_refused(run: Run) -> None:
    (await run("reviewers", "put", "pm", "--name", "PM"))
    (await run("reviewers", "retire", "pm"))
    (await run("users", "create", "ada", "--role", "editor"))
    reviewer = ("--role", "reviewer", "--reviewer")
    assert_refused(
        (await run("users", "create", "bob", *reviewer, "nobody")),
        "no reviewer 'nobody'",
        "shiplog reviewers",
    )
    assert_refused((await run("users", "create", "bob", *reviewer, "")), "no reviewer ''")
    assert_refused((await run("users", "create", "bob", *reviewer, "pm")), "'pm' is retired")
    assert_refused((await run("users", "create", "bob", "--role", "reviewer")), "needs --reviewer")
    assert_refused((await run("users", "create", "bob", "--role", "editor", "--reviewer", "pm")), "must not")
    assert_refused(
        (await run("users", "create", "ada", "--role", "editor")), "'ada' already", "shiplog users password"
    )
    assert_refused((await run("users", "create", " ", "--role", "editor")), "1 to 80 characters")
    assert_refused(
        (await run("users", "role", "ada", "reviewer", "--reviewer", "nobody")), "no reviewer 'nobody'"
    )
    for words in (("password",), ("remove",), ("sessions",), ("sessions", "--end")):
        assert_refused(
            (await run("users", words[0], "eve", *words[1:])), "no user 'eve'", "shiplog users list"
        )
    assert_refused((await run("users", "role", "eve", "editor")), "no user 'eve'")
    assert names(await run("users", "list", "--json")) == ["ada"]
