"""The orders of the list on the pages: plain links; the chosen order is marked, and the category is kept."""

from __future__ import annotations

from uuid import uuid4

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.test_pages import list_tool, open_when_shown
from tests.browser.visit import Visit

NAMES = ["Top", "Hot", "Trending", "Controversial", "Most voted", "New"]


def test_orders_are_links_that_work_without_scripts(browser: Browser, site: str) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(site)
    orders = page.get_by_role("navigation", name="Order").get_by_role("link")
    expect(orders).to_have_text(NAMES)
    for name in NAMES:
        orders.get_by_text(name, exact=True).click()
        expect(page.locator(".orders [aria-current]")).to_have_text(name)
        expect(page.locator(".entry").first).to_be_visible()
        if name != "Top":
            expect(page.locator(".log > h3")).to_have_text(name)
            assert f"sort={name.lower().replace(' ', '-')}" in page.url
    page.context.close()


def test_the_order_is_kept_into_a_category_and_the_category_by_the_order(visit: Visit) -> None:
    page = visit.open("/?sort=new")
    page.get_by_role("navigation", name="Categories").get_by_role("link").first.click()
    heading = page.locator("h1").inner_text()
    expect(page.locator(".orders [aria-current]")).to_have_text("New")
    page.get_by_role("navigation", name="Order").get_by_role("link", name="Hot").click()
    expect(page.locator(".orders [aria-current]")).to_have_text("Hot")
    expect(page.locator("h1")).to_have_text(heading)
    page.get_by_role("link", name="How tools are ordered").click()
    expect(page.get_by_role("heading", name="How lists are ordered")).to_be_visible()


def test_a_few_votes_are_preliminary_and_counted_as_recent(visit: Visit, site: str, editor_key: str) -> None:
    slug = f"order-{uuid4().hex[:12]}"
    list_tool(site, editor_key, slug, slug)
    page = open_when_shown(visit, f"/tools/{slug}")
    page.get_by_role("button", name="Ship", exact=True).click()
    expect(page.locator(".tally [data-part=share]")).to_have_text("100%", timeout=10_000)
    page.goto(f"{site}/?sort=new")
    entry = page.locator(f"[data-tool={slug}]")
    expect(entry.locator("[data-part=preliminary]")).to_be_visible()
    expect(entry.locator(".activity")).to_have_count(0)
    page.goto(f"{site}/?sort=hot")
    expect(entry.locator(".activity")).to_have_text("1 since yesterday, none before")


@pytest.mark.parametrize("path", ["/?sort=trending", "/categories/databases?sort=hot"])
@pytest.mark.parametrize("width", [360, 1280])
def test_a_page_in_an_order_fits_its_window(visit: Visit, path: str, width: int) -> None:
    page = visit.open(path)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_an_order_that_does_not_exist_is_a_readable_problem(visit: Visit) -> None:
    page = visit.context.new_page()
    answer = page.goto(f"{visit.site}/?sort=best")
    assert answer is not None
    assert answer.status == 400
    expect(page.locator("h1")).to_have_count(1)
    visit.problems.clear()
