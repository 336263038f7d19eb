"""The first writes of a browser, sent before any answer has set its cookie: one visitor, and what was shown stays."""

from __future__ import annotations

from uuid import uuid4

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from services.auth.identity import VISITOR_COOKIE
from tests.browser.test_pages import list_tool, open_when_shown, side
from tests.browser.visit import Visit
from tests.support.instances import wait_until

WRITES = "**/v1/{votes,me/bookmarks/*}"


class Held:
    """Holds back the writes of a context until as many as are expected have been sent."""

    def __init__(self, context: BrowserContext) -> None:
        self._routes: list[Route] = []
        self._holding = True
        context.route(WRITES, self._arrived)

    def _arrived(self, route: Route) -> None:
        if self._holding:
            self._routes.append(route)
        else:
            route.continue_()

    def release(self, page: Page, writes: int) -> None:
        wait_until(lambda: page.evaluate("1") and len(self._routes) == writes)
        self._holding = False
        for route in self._routes:
            route.continue_()


@pytest.fixture
def pair(site: str, editor_key: str) -> tuple[str, str]:
    """Two tools without votes."""
    slugs = f"a-{uuid4().hex[:12]}", f"b-{uuid4().hex[:12]}"
    for slug in slugs:
        list_tool(site, editor_key, slug, slug)
    return slugs


@pytest.fixture
def comparison(visit: Visit, pair: tuple[str, str]) -> Page:
    page = open_when_shown(visit, f"/compare/{pair[0]}-vs-{pair[1]}")
    expect(page.locator("[data-live=live]")).to_be_visible()
    return page


def press(page: Page, position: str, name: str) -> None:
    side(page, position).get_by_role("button", name=name, exact=True).click()


def pressed(page: Page, position: str, name: str) -> None:
    button = side(page, position).get_by_role("button", name=name, exact=True)
    expect(button).to_have_attribute("aria-pressed", "true")


def visitors(visit: Visit) -> list[str]:
    return [str(each["value"]) for each in visit.context.cookies() if each.get("name") == VISITOR_COOKIE]


# Over plain http a browser has no locks; it may also be set to keep no storage.
WITHOUT_LOCKS = "Object.defineProperty(navigator, 'locks', { value: undefined });"
WITHOUT_STORAGE = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('blocked'); } });"


@pytest.mark.parametrize("script", ["", WITHOUT_LOCKS, WITHOUT_LOCKS + WITHOUT_STORAGE])
def test_both_sides_pressed_in_one_moment_are_one_visitors_votes(
    visit: Visit, comparison: Page, script: str
) -> None:
    comparison.add_init_script(script)
    comparison.reload()
    held = Held(visit.context)
    press(comparison, "left", "Ship")
    press(comparison, "right", "Skip")
    held.release(comparison, 2)
    wait_until(lambda: len(visitors(visit)) == 1)
    for _ in range(2):
        pressed(comparison, "left", "Ship")
        pressed(comparison, "right", "Skip")
        comparison.reload()


def test_two_tabs_are_one_visitor(visit: Visit, comparison: Page) -> None:
    other = visit.open(comparison.url.removeprefix(visit.site))
    held = Held(visit.context)
    press(comparison, "left", "Ship")
    press(other, "left", "Ship")
    press(other, "right", "Skip")
    held.release(comparison, 3)
    wait_until(lambda: len(visitors(visit)) == 1)
    for page in (comparison, other):
        expect(side(page, "left").locator("[data-part=total]")).to_have_text("1")
        expect(side(page, "right").locator("[data-part=total]")).to_have_text("1")
        page.reload()
        pressed(page, "left", "Ship")
        pressed(page, "right", "Skip")
    assert comparison.evaluate("localStorage.getItem('shiplog-claim')") is None


def test_a_bookmark_during_the_first_vote_stays(visit: Visit, comparison: Page) -> None:
    held = Held(visit.context)
    press(comparison, "left", "Ship")
    side(comparison, "left").locator("[data-bookmark]").click()
    held.release(comparison, 2)
    expect(comparison.locator("[data-part=saved]")).to_have_text("1")
    comparison.reload()
    pressed(comparison, "left", "Ship")
    expect(side(comparison, "left").locator("[data-bookmark]")).to_have_attribute("aria-pressed", "true")


def test_a_vote_whose_answer_was_lost_is_the_visitors(visit: Visit, comparison: Page) -> None:
    """The server has stored it, but the cookie did not arrive."""

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    comparison.route(WRITES, lose)
    press(comparison, "right", "Skip")
    expect(side(comparison, "right").locator("[data-part=note]")).to_contain_text("did not answer")
    comparison.unroute(WRITES)
    visit.context.clear_cookies()
    visit.problems.clear()
    comparison.reload()
    pressed(comparison, "right", "Skip")
    assert len(visitors(visit)) == 1
