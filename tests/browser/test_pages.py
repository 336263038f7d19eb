"""The pages in a real browser: what a reader sees, does and hears, and that nothing is loaded from other hosts."""

from __future__ import annotations

import json
import re
import urllib.request
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser.visit import Visit

CLAUDE = "claude-4-api-tool-use-streaming-prompt-caching"
SMOL = "smolagents-2-0"
COMPARISON = f"/compare/{CLAUDE}-vs-{SMOL}"
TIMEOUT_MS = 10_000.0
HOSTILE = (
    '<img src=x onerror="document.title=1">\u202e"\'&amp;{{7*7}}</script><script>document.title=2</script>'
)


def side(page: Page, position: str) -> Locator:
    return page.locator(f".leaf.{position}")


def put(site: str, key: str, path: str, body: dict[str, object]) -> None:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(site + path, json.dumps(body).encode(), headers, method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status in (200, 201)


def list_tool(site: str, key: str, slug: str, name: str) -> None:
    body: dict[str, object] = {
        "name": name,
        "tagline": "For the test",
        "category": {"slug": "tested", "name": "Tested"},
        "url": "https://example.org/tool",
        "pricing": {"entry": "Free"},
    }
    put(site, key, f"/v1/tools/{slug}", body)


def open_when_shown(visit: Visit, path: str) -> Page:
    """Open the page of something just listed, as soon as the read models have it."""
    page = visit.context.new_page()
    for _ in range(100):
        answer = page.goto(visit.site + path)
        if answer is not None and answer.status == 200:
            visit.problems.clear()
            return page
    raise AssertionError(f"{path} was never shown")


@pytest.fixture
def fresh_tool(site: str, editor_key: str) -> str:
    """A tool without votes."""
    slug = f"tool-{uuid4().hex[:12]}"
    list_tool(site, editor_key, slug, slug)
    return slug


def test_the_comparison_shows_the_panels_facts(visit: Visit) -> None:
    page = visit.open(COMPARISON)
    expect(page.locator(".crumbs")).to_have_text(
        re.compile(r"Compare\s*/\s*Claude 4 API: Tool Use Streaming & Prompt Caching vs SmolAgents 2\.0")
    )
    for position, split, share in (("left", "4 ship / 0 skip", "100%"), ("right", "3 ship / 1 skip", "75%")):
        expect(side(page, position).locator(".verdict")).to_contain_text(f"Ship · {split}")
        expect(side(page, position).locator(".verdict .share")).to_have_text(share)
    expect(page.locator(".ruling")).to_contain_text("Decided by panel share: 100% against 75%.")
    rows = page.locator(".aligned > li")
    expect(rows.locator("h3")).to_have_text(["Builder", "Skeptic", "Futurist", "Founder", "PM"])
    expect(rows.locator(".left .score")).to_have_text(["88", "82", "85", "79"])
    expect(rows.locator(".right .score")).to_have_text(["74", "68", "77", "55"])
    expect(rows.nth(3).locator(".right")).to_contain_text("No panel take")
    expect(rows.nth(4).locator(".left")).to_contain_text("No panel take")
    expect(page.locator(".silent")).to_contain_text("Security, Operator")


def test_a_comparison_can_be_opened_with_its_sides_swapped(visit: Visit) -> None:
    page = visit.open(f"/compare/{SMOL}-vs-{CLAUDE}")
    expect(side(page, "left").locator("h2")).to_have_text("SmolAgents 2.0")
    expect(page.locator(".ruling")).to_contain_text("Claude 4 API")
    assert page.locator("link[rel=canonical]").get_attribute("href") == COMPARISON


def test_a_tool_without_votes_says_so_and_never_shows_a_share(visit: Visit, fresh_tool: str) -> None:
    page = open_when_shown(visit, f"/tools/{fresh_tool}")
    expect(page.locator(".tally [data-part=empty]")).to_have_text("No community votes yet")
    expect(page.locator(".tally [data-part=counted]")).to_be_hidden()
    assert "0%" not in page.locator("main").inner_text()
    assert "AggregateRating" not in page.content()


def test_a_vote_moves_the_tally_here_and_elsewhere_and_is_shown_after_reload(
    visit: Visit, browser: Browser, fresh_tool: str
) -> None:
    path = f"/tools/{fresh_tool}"
    page = open_when_shown(visit, path)
    elsewhere = Visit(browser.new_context(), visit.site).open(path)
    for each in (page, elsewhere):
        expect(each.locator("[data-live=live]")).to_be_visible()
    ship = page.get_by_role("button", name="Ship", exact=True)
    ship.click()
    for each in (page, elsewhere):
        expect(each.locator(".tally [data-part=share]")).to_have_text("100%", timeout=TIMEOUT_MS)
        expect(each.locator(".tally [data-part=empty]")).to_be_hidden()
        expect(each.locator(".tally [data-part=preliminary]")).to_be_visible()
    expect(ship).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(ship).to_have_attribute("aria-pressed", "true")
    expect(elsewhere.get_by_role("button", name="Ship", exact=True)).to_have_attribute(
        "aria-pressed", "false"
    )
    expect(page.locator(".tally [data-part=ship]")).to_have_text("1")
    assert "AggregateRating" in page.content()


def test_the_second_press_retracts_and_the_other_button_changes(visit: Visit, fresh_tool: str) -> None:
    page = open_when_shown(visit, f"/tools/{fresh_tool}")
    ship, skip = (page.get_by_role("button", name=name, exact=True) for name in ("Ship", "Skip"))
    ship.click()
    expect(page.locator(".tally [data-part=share]")).to_have_text("100%", timeout=TIMEOUT_MS)
    skip.click()
    expect(page.locator(".tally [data-part=skip]")).to_have_text("1", timeout=TIMEOUT_MS)
    expect(ship).to_have_attribute("aria-pressed", "false")
    skip.click()
    expect(page.locator(".tally [data-part=empty]")).to_be_visible(timeout=TIMEOUT_MS)
    expect(skip).to_have_attribute("aria-pressed", "false")


def test_a_rejected_vote_is_undone_with_the_reason(visit: Visit) -> None:
    page = visit.open(COMPARISON)
    problem = {
        "type": "urn:shiplog:try-again",
        "title": "Busy",
        "status": 503,
        "detail": "Try again in a second.",
    }
    page.route("**/v1/votes", lambda route: _reject(route, problem))
    ship = side(page, "left").get_by_role("button", name="Ship", exact=True)
    ship.click()
    expect(side(page, "left").locator("[data-part=note]")).to_have_text("Try again in a second.")
    expect(ship).to_have_attribute("aria-pressed", "false")
    visit.problems.clear()


def _reject(route: Route, problem: dict[str, object]) -> None:
    route.fulfill(status=503, content_type="application/problem+json", body=json.dumps(problem))


def test_a_vote_by_keyboard_alone(visit: Visit, fresh_tool: str) -> None:
    page = open_when_shown(visit, f"/tools/{fresh_tool}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.choice") == "skip":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Space")
    expect(page.locator(".tally [data-part=share]")).to_have_text("0%", timeout=TIMEOUT_MS)
    expect(page.locator("[data-announce]")).to_contain_text("0 ship, 1 skip")


def test_the_drawer_is_loading_then_empty_then_a_list(visit: Visit) -> None:
    page = visit.context.new_page()
    held: list[Route] = []
    page.route("**/v1/me/bookmarks", lambda route: held.append(route))
    page.goto(visit.site + COMPARISON)
    drawer = open_drawer(page)
    expect(drawer.get_by_text("Fetching your bookmarks…")).to_be_visible()
    for route in held:
        route.continue_()
    page.unroute("**/v1/me/bookmarks")
    expect(drawer.get_by_text("Nothing saved yet")).to_be_visible()
    expect(drawer.get_by_text("Fetching your bookmarks…")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()

    bookmark = page.get_by_role("button", name="Bookmark SmolAgents 2.0")
    bookmark.click()
    expect(bookmark).to_have_attribute("aria-pressed", "true")
    open_drawer(page)
    expect(drawer.get_by_role("link", name="SmolAgents 2.0")).to_be_visible()
    expect(drawer.get_by_role("listitem")).to_contain_text("Ship")
    drawer.get_by_role("button", name="Remove SmolAgents 2.0").click()
    expect(drawer.get_by_text("Nothing saved yet")).to_be_visible()
    expect(bookmark).to_have_attribute("aria-pressed", "false")


def open_drawer(page: Page) -> Locator:
    page.locator("[data-open-drawer]").click()
    return page.get_by_role("dialog", name="Your bookmarks")


def test_a_note_is_kept_on_the_bookmarks_page(visit: Visit) -> None:
    page = visit.open("/tools/sqlite")
    page.get_by_role("button", name="Bookmark SQLite").click()
    expect(page.locator("[data-part=saved]")).to_have_text("1")
    page.goto(visit.site + "/bookmarks")
    note = page.get_by_label("Note")
    note.fill("try it with strict tables")
    note.press("Enter")
    expect(page.get_by_text("Note kept.")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Note")).to_have_value("try it with strict tables")


def test_foreign_text_is_shown_as_text(visit: Visit, site: str, editor_key: str, fresh_tool: str) -> None:
    list_tool(site, editor_key, f"{fresh_tool}-hostile", HOSTILE[:110])
    take: dict[str, object] = {"score": 1, "choice": "skip", "text": HOSTILE}
    put(site, editor_key, f"/v1/tools/{fresh_tool}-hostile/takes/builder", take)
    page = open_when_shown(visit, f"/tools/{fresh_tool}-hostile")
    expect(page.locator("h1")).to_have_text(HOSTILE[:110])
    for path in (
        f"/compare/{fresh_tool}-hostile-vs-{fresh_tool}",
        "/reviewers/builder",
        "/categories/tested",
        "/",
    ):
        open_when_shown(visit, path)
    page.goto(f"{site}/tools/{fresh_tool}-hostile")
    expect(page.locator(".words")).to_have_text(HOSTILE)
    assert page.locator("main img, main script").count() == 0
    blocks = page.locator("script[type='application/ld+json']").all_text_contents()
    assert [json.loads(block)["review"][0]["reviewBody"] for block in blocks] == [HOSTILE]
    assert (page.get_by_role("link", name="Visit").get_attribute("rel") or "").split() == [
        "nofollow",
        "noopener",
        "ugc",
    ]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        COMPARISON,
        "/tools/uv",
        "/reviewers/skeptic",
        "/categories/databases",
        "/bookmarks",
        "/methodology",
        "/ledger",
        "/editor",
    ],
)
def test_every_page_fits_its_window(visit: Visit, path: str) -> None:
    page = visit.open(path)
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(page.locator("h1")).to_have_count(1)


def test_a_long_name_without_spaces_fits_the_window(
    visit: Visit, site: str, editor_key: str, fresh_tool: str
) -> None:
    list_tool(site, editor_key, f"{fresh_tool}-vs-long", "W" * 120)
    page = open_when_shown(visit, f"/compare/{fresh_tool}-vs-long-vs-{fresh_tool}")
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    expect(side(page, "left").locator("h2")).to_have_text("W" * 120)


def test_the_footer_links_to_the_ledger_of_voids(visit: Visit) -> None:
    page = visit.open("/")
    page.get_by_role("navigation", name="Footer").get_by_role("link", name="Ledger of voids").click()
    expect(page.get_by_role("heading", name="Ledger of voids")).to_be_visible()
    expect(page.locator(".ledger")).to_have_text(
        "This version cannot void votes; every recorded vote counts."
    )


def test_the_api_pages_load_nothing_from_other_hosts(visit: Visit) -> None:
    page = visit.open("/schema/swagger")
    expect(page.get_by_role("heading", name="POST /v1/votes", exact=True)).to_be_visible()


@pytest.mark.parametrize(
    "path", ["/tools/nothing-of-this-name", "/compare/uv-vs-uv", "/reviewers/nobody", "/nowhere"]
)
def test_an_unknown_page_is_a_readable_404(visit: Visit, path: str) -> None:
    page = visit.context.new_page()
    answer = page.goto(visit.site + path)
    assert answer is not None
    assert answer.status == 404
    expect(page.get_by_role("heading", name="Not in the log")).to_be_visible()
    visit.problems.clear()


def test_pages_are_complete_without_scripts(browser: Browser, site: str) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(site + COMPARISON)
    expect(page.locator(".aligned > li")).to_have_count(5)
    expect(page.locator(".ballot").first).to_be_hidden()
    expect(page.locator(".noscript")).to_be_visible()
