"""The page of flips in a real browser: a running instance finds flips by itself, each with its cause."""

from __future__ import annotations

import json
import urllib.request

from playwright.sync_api import expect

from tests.browser.visit import Visit
from tests.support.instances import wait_until


def test_verdicts_that_changed_are_listed_with_their_causes(visit: Visit) -> None:
    def flips() -> list[dict[str, str]]:
        with urllib.request.urlopen(f"{visit.site}/v1/verdicts/flips?limit=100", timeout=10) as answer:
            found: list[dict[str, str]] = json.load(answer)["items"]
            return found

    newest = wait_until(flips, 30)[0]
    page = visit.open("/flips")
    expect(page.get_by_role("heading", level=1)).to_have_text("Verdicts that changed")
    first = page.locator("main li").first
    expect(first.get_by_role("link")).to_have_attribute("href", f"/tools/{newest['slug']}")
    expect(first).to_contain_text(newest["before"])
    expect(first).to_contain_text(newest["after"])
    expect(first).to_contain_text("published a take")
    page.get_by_role("contentinfo").get_by_role("link", name="Verdicts that changed").click()
    expect(page).to_have_url(f"{visit.site}/flips")
