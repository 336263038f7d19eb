"""A text that a person writes is stored as it is, or refused in words: the page cuts nothing out of it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.visit import Visit

pytestmark = pytest.mark.xdist_group("instance")

TOOL = "sqlite"
SAVE = """async ([tool, note]) => {
  const headers = { "Content-Type": "application/json" };
  await fetch(`/v1/me/bookmarks/${tool}`, { method: "PUT", headers, body: JSON.stringify({ note }) });
}"""
READ = "async () => (await (await fetch('/v1/me/bookmarks')).json()).items[0].note"


def test_a_note_keeps_its_lines_and_a_long_one_is_refused(browser: Browser, site: str) -> None:
    visit = Visit(browser.new_context(), site)
    page = visit.open("/bookmarks")
    page.evaluate(SAVE, [TOOL, "first\nsecond"])
    page.reload()
    note = page.locator("main").get_by_label("Note")
    expect(note).to_have_value("first\nsecond")
    note.press("Control+End")
    note.press_sequentially(" and more")
    note.blur()
    expect(page.locator("main [data-part=answer]")).to_have_text("Note kept.")
    assert page.evaluate(READ) == "first\nsecond and more"

    note.select_text()
    page.keyboard.insert_text("x" * 4_001)
    note.blur()
    expect(page.locator("main [data-part=answer]")).to_contain_text("at most 4,000 characters")
    assert page.evaluate(READ) == "first\nsecond and more"
    visit.context.close()
