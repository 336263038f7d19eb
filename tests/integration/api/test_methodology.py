"""Methodology: the page describes the rulebook in force, whatever it is."""

from __future__ import annotations

import re
from html import unescape

import pytest

from domain.rulebooks.presets import DEFAULT, PRESETS
from domain.rulebooks.rulebook import Rulebook, read_rulebook
from services.api.site.methodology import interval, subject, thresholds
from tests.support.stage import (
    Client,
    Headers,
    Log,
    catch_up,
    list_tool,
    log_in,
    publish,
    seat_panel,
    vote_as,
)

FULL = """
name = "full"
title = "All <of> it"
ship = "> 2/3"
skip = "<= 1/3"
between = "Skip"
comparison = ["verdict", "votes"]
[panel]
weight = 2
quorum = 3
counts = "scores"
bands = [[0, 10], [50, 60]]
[panel.weights]
builder = 3
skeptic = 0
[community]
weight = 1
z = "2.5"
window_days = 90
veto_below = "40%"
"""


@pytest.mark.parametrize(
    ("ship", "skip", "between"),
    [
        (">1/2", "<1/2", "exactly 50%"),
        (">=1/2", "<1/2", None),
        (">1/2", "<=1/2", None),
        (">=80%", "<50%", "from 50% to below 80%"),
        (">2/3", "<=1/3", "above 1/3 to 2/3"),
    ],
)
def test_the_range_between_the_thresholds(ship: str, skip: str, between: str | None) -> None:
    book = read_rulebook(f'name = "mine"\nship = "{ship}"\nskip = "{skip}"')
    assert [share for share, _ in thresholds(book)][2:] == ([between] if between else [])


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("default", [("above 50%", "Ship"), ("below 50%", "Skip"), ("exactly 50%", "Split")]),
        (
            "four-in-five",
            [("at least 80%", "Ship"), ("below 50%", "Skip"), ("from 50% to below 80%", "Split")],
        ),
        (
            "lower-bound",
            [
                ("lower end above 50%", "Ship"),
                ("upper end below 50%", "Skip"),
                ("neither of the two", "Split"),
            ],
        ),
    ],
)
def test_the_thresholds_in_words(name: str, rows: list[tuple[str, str]]) -> None:
    assert thresholds(PRESETS[name]) == rows


def test_the_subject_and_the_interval_of_a_rulebook() -> None:
    assert {name: subject(book) for name, book in PRESETS.items()} == {
        "default": "Panel share",
        "four-in-five": "Panel share",
        "score-weighted": "Panel share",
        "community-veto": "Panel share",
        "lower-bound": "Community interval",
        "sixty-days": "Weighed share",
    }
    assert interval(DEFAULT) == "95% Wilson interval"
    assert interval(read_rulebook(FULL)) == "Wilson interval at z = 2.5"


@pytest.fixture
async def editor(client: Client, catalogue_key: Headers, pool: Log) -> Client:
    await seat_panel(pool, "builder", "skeptic")
    for slug in ("quill", "pen"):
        await list_tool(client, catalogue_key, slug)
    await publish(client, catalogue_key, "quill", "builder", 80, "ship")
    await log_in(client, pool, "ed", "editor")
    return client


async def text_of(client: Client, path: str) -> str:
    answer = await client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200, answer.text
    return " ".join(unescape(re.sub(r"<[^>]*>", "", answer.text)).split())


async def adopt(editor: Client, log: Log, book: Rulebook) -> None:
    body = {"reason": f"Try <{book.name}>."}
    assert (await editor.post(f"/v1/rulebooks/{book.digest}/adopt", json=body)).status_code == 200
    await catch_up(log)


async def test_the_page_describes_every_preset(editor: Client, pool: Log) -> None:
    says = {
        "default": "Votes are counted beside it and never change the verdict.",
        "four-in-five": "With fewer than 2 takes that count, the panel says nothing.",
        "score-weighted": "At least 70%Ship",
        "community-veto": "where the upper end of its interval lies below 40%, what would be Ship is Split.",
        "lower-bound": "The community decides alone.",
        "sixty-days": "half as much as one that was cast 60 days later.",
    }
    assert "No other rulebook has been adopted." in await text_of(editor, "/methodology")
    for name, book in reversed(PRESETS.items()):
        await adopt(editor, pool, book)
        page = await text_of(editor, "/methodology")
        assert f"The rule in force: {book.title}" in page
        assert says[name] in page
        assert ("never change" in page) == (not book.weighs_votes or not book.panel.weight)
        assert f"{book.digest}. These are known" in page
    assert page.count("was adopted in place of") == len(PRESETS)
    assert "Panel majority was adopted in place of Four in five. Try <default>." in page


async def test_the_pages_describe_a_rulebook_with_every_field(
    editor: Client, vote_key: Headers, pool: Log
) -> None:
    await editor.post("/v1/rulebooks", content=FULL, headers={"Content-Type": "application/toml"})
    await adopt(editor, pool, read_rulebook(FULL))
    page = await text_of(editor, "/methodology")
    for words in (
        "The rule in force: All <of> it",
        "the panel counts for 2 and the community for 1.",
        "Above 1/3 to 2/3Skip",
        "builder weighs 3, skeptic is left out, and everybody else weighs 1.",
        "10 from a score of 0 on, 60 from a score of 50 on.",
        "Only votes of the last 90 days count.",
        "The tool with the better verdict",
        "If those are equal, the one with more community votes.",
    ):
        assert words in page
    await vote_as(editor, vote_key, "ada", "ship", "pen")
    await catch_up(pool)
    compared = await text_of(editor, "/compare/quill-vs-pen")
    assert "Decided by votes: 1 against 0. Verdict is level." in compared
    await vote_as(editor, vote_key, "ada", "ship", "quill")
    await catch_up(pool)
    assert "Verdict and votes are all level." in await text_of(editor, "/compare/quill-vs-pen")


async def test_the_page_of_a_tool_shows_how_many_votes_would_change_its_verdict(
    editor: Client, vote_key: Headers, pool: Log
) -> None:
    for voter in range(10):
        await vote_as(editor, vote_key, f"voter {voter}", "ship")
    await adopt(editor, pool, PRESETS["lower-bound"])
    assert "1 vote fewer would change this verdict." in await text_of(editor, "/tools/quill")
