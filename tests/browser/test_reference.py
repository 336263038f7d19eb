"""The reference of the API in a real browser: accessible, light, and complete without scripts."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.browser.visit import Visit

BYTES_MAX = 600_000  # Swagger UI took 2.1 MB


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_the_reference_passes_axe(visit: Visit, scheme: str) -> None:
    page = visit.open("/schema/swagger")
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    # All are made by one template: those of votes and bulk have every kind of part.
    page.evaluate(
        "[...document.querySelectorAll('main details')].slice(0, 8).forEach(each => { each.open = true })"
    )
    violations = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in violations] == []


def test_the_reference_is_light_and_leads_to_the_document(visit: Visit) -> None:
    sizes: list[int] = []
    visit.context.on("response", lambda answer: sizes.append(int(answer.headers.get("content-length", 0))))
    page = visit.open("/schema")
    expect(page.get_by_role("heading", name="POST /v1/votes", exact=True)).to_be_visible()
    assert sum(sizes) < BYTES_MAX
    assert page.get_by_role("link", name="OpenAPI document").get_attribute("href") == "/schema/openapi.json"


def test_the_reference_is_complete_without_scripts(browser: Browser, site: str) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{site}/schema/swagger#V1VotesBulkCastVotes")
    bulk = page.locator("#V1VotesBulkCastVotes")
    bulk.locator("summary").click()
    expect(bulk.get_by_text("application/x-ndjson").first).to_be_visible()
    expect(bulk).to_contain_text("an API key with votes:write")
