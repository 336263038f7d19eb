"""The footer says so while a Shiplog shows the votes of the sample, and never on a catalogue of one's own."""

from __future__ import annotations

import pytest

from services.cli.sample.load import load_sample
from services.settings import Settings
from tests.integration.conftest import stage_on
from tests.support.stage import Log, Stage, catch_up, new_visitor, vote

NOTICE = "shows its sample"
BROWSER = {"Accept": "text/html"}
PAGES = ("/", "/methodology", "/bookmarks", "/editor", "/schema", "/nowhere")


async def test_every_page_says_that_votes_are_of_the_sample(settings: Settings, pool: Log) -> None:
    assert await load_sample(settings, pool)
    await catch_up(pool)
    async with stage_on(settings) as stage:
        for path in (*PAGES, "/tools/aider"):
            assert NOTICE in (await stage.client.get(path, headers=BROWSER)).text, path


async def test_a_sample_catalogue_with_real_votes_does_not(settings: Settings, pool: Log) -> None:
    """As in an installation of an older release, whose sample had no votes."""
    assert await load_sample(settings, pool, with_votes=False)
    async with stage_on(settings) as stage:
        assert (await vote(new_visitor(stage.client), "aider")).status_code == 200
        await catch_up(pool)
    async with stage_on(settings) as stage:
        assert NOTICE not in (await stage.client.get("/")).text


@pytest.mark.parametrize("path", [*PAGES, "/tools/quill"])
async def test_a_catalogue_of_ones_own_does_not(stage: Stage, path: str) -> None:
    assert NOTICE not in (await stage.client.get(path, headers=BROWSER)).text
