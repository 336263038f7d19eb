"""Live tallies while the API is down: the page says so, and shows the votes of the meantime when it is back."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.visit import Visit
from tests.support.instances import Instance, start_instance

TOOL = "neovim"


@pytest.fixture
def two_apis(tmp_path: Path) -> Iterator[Instance]:
    """The page is connected to the first API; the second takes votes while the first is down."""
    with start_instance(tmp_path / "data", "--api", "2") as running:
        yield running


def test_the_page_says_reconnecting_and_returns_with_fresh_state(
    browser: Browser, two_apis: Instance
) -> None:
    visit = Visit(browser.new_context(), two_apis.url)
    key = two_apis.create_key("votes:write")
    page = visit.open(f"/tools/{TOOL}")
    expect(page.locator("[data-live=live]")).to_have_text("live")
    expect(page.locator(".tally [data-part=empty]")).to_be_visible()

    host, port = two_apis.url.rsplit(":", 1)
    os.kill(api_process(two_apis, port), signal.SIGKILL)
    expect(page.locator("[data-live=reconnecting]")).to_have_text("reconnecting")
    expect(page.locator(".tally [data-part=empty]")).to_be_visible()
    vote(f"{host}:{int(port) + 1}", key)

    expect(page.locator("[data-live=live]")).to_have_text("live", timeout=30_000)
    expect(page.locator(".tally [data-part=total]")).to_have_text("1")
    page.get_by_role("button", name="Skip", exact=True).click()
    expect(page.locator(".tally [data-part=total]")).to_have_text("2")
    expect(page.locator(".tally [data-part=share]")).to_have_text("50%")
    visit.context.close()


def api_process(instance: Instance, port: str) -> int:
    """The child of `shiplog up` that serves the port."""
    children = Path(f"/proc/{instance.process.pid}/task/{instance.process.pid}/children").read_text().split()
    lines = {int(pid): Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in children}
    return next(pid for pid, words in lines.items() if "serve" in words and port in words)


def vote(url: str, key: str) -> None:
    body = json.dumps({"tool": TOOL, "choice": "ship", "voter": "elsewhere"}).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{url}/v1/votes", body, headers), timeout=10
    ) as answer:
        assert json.load(answer)["outcome"] == "counted"
