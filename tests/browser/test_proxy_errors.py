"""A proxy that answers in place of the server: the page says in words that the server did not answer."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.proxy import Proxy, Substitute, proxy_to
from tests.browser.visit import Visit

pytestmark = pytest.mark.xdist_group("instance")

SUBSTITUTES = {
    "502 with HTML": Substitute(502, "text/html", b"<html><h1>502 Bad Gateway</h1></html>"),
    "504 with nothing": Substitute(504),
    "200 with HTML": Substitute(200, "text/html", b"<html>Log in to this network</html>"),
    "200 with nothing": Substitute(200, "application/json"),
    "503 with JSON that is no problem": Substitute(
        503, "application/json", b'{"message": "no healthy upstream"}'
    ),
    "503 with a detail of something else": Substitute(
        503, "application/json", b'{"detail": ["upstream", 5]}'
    ),
    "500 with a JSON text": Substitute(500, "application/json", b'"oops"'),
    "a closed connection": Substitute(0),
}


def test_a_vote_says_that_the_server_did_not_answer(browser: Browser, site: str) -> None:
    with proxy_to(site) as proxy:
        visit = Visit(browser.new_context(), proxy.url)
        page = visit.open("/tools/smolagents-2-0")
        ship, note = (
            page.get_by_role("button", name="Ship", exact=True),
            page.locator("[data-part=note]").first,
        )
        expect(page.locator("[data-bookmark]").first).to_have_attribute("aria-pressed", "false")
        for substitute in SUBSTITUTES.values():
            proxy.substitute = substitute
            ship.click()
            expect(note).to_have_text("The server did not answer. Try again.")
            expect(ship).to_have_attribute("aria-pressed", "false")
        _vote_and_retract(proxy, visit)
        visit.context.close()


def _vote_and_retract(proxy: Proxy, visit: Visit) -> None:
    proxy.substitute = None
    page = visit.context.pages[0]
    ship = page.get_by_role("button", name="Ship", exact=True)
    for pressed in ("true", "false"):
        ship.click()
        expect(ship).to_have_attribute("aria-pressed", pressed)
        expect(page.locator("[data-part=note]").first).to_have_text("")
