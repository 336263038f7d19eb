"""A real browser, and visits to the running instance."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.browser.visit import Visit

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def browser(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium with an empty profile. Without it tests are skipped, except in CI."""
    chromium = shutil.which("chromium")
    if chromium is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("chromium is not installed")
    home: dict[str, str | float | bool] = {**os.environ, "HOME": str(tmp_path_factory.mktemp("chromium"))}
    browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS, env=home)
    yield browser
    browser.close()


@pytest.fixture
def visit(browser: Browser, site: str) -> Iterator[Visit]:
    """A visit. Afterwards the console must be free of errors, and no other host may have been contacted."""
    visit = Visit(browser.new_context(), site)
    yield visit
    visit.context.close()
    assert visit.problems == []
    assert visit.hosts == {urlsplit(site).netloc}
