"""The editors' desk in a real browser: the forms of each role, and what they do."""

from __future__ import annotations

import json
import re
import urllib.request
from uuid import uuid4

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.visit import Visit
from tests.support.instances import Instance

IN_THE_LOG = re.compile(r"^Revision \d+ is in the log at \d+\.\d+\.$")


@pytest.fixture
def slug() -> str:
    """The slug of a tool that is not listed yet."""
    return f"desk-{uuid4().hex[:12]}"


def log_in(visit: Visit, instance: Instance, *role: str) -> Page:
    name = f"person-{uuid4().hex[:8]}"
    user = json.loads(instance.command("users", "create", name, *role, "--json"))
    page = visit.open("/editor")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(user["password"])
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".who")).to_contain_text(f"Logged in as {name}")
    return page


def fill_tool(form: Locator, slug: str, name: str) -> None:
    form.get_by_label("Slug", exact=True).fill(slug)
    form.get_by_label("Name", exact=True).fill(name)
    form.get_by_label("Category slug").fill("databases")
    form.get_by_label("Category slug").press("Tab")
    form.get_by_label("Entry price").fill("Free")


def put_tool(page: Page, slug: str, name: str) -> None:
    form = page.locator("[data-put-tool]")
    fill_tool(form, slug, name)
    form.get_by_role("button", name="Put the tool").click()
    expect(form.get_by_role("status")).to_have_text(IN_THE_LOG)


def read_tool(site: str, slug: str) -> dict[str, object]:
    with urllib.request.urlopen(f"{site}/v1/tools/{slug}", timeout=10) as answer:
        card: dict[str, object] = json.load(answer)
    return card


def ask_to_retire(page: Page, slug: str) -> tuple[Locator, Locator]:
    """The form, and the dialog that it opened."""
    form = page.locator("[data-retire]")
    form.get_by_label("Slug of the tool to retire").fill(slug)
    form.get_by_role("button", name="Retire tool").click()
    return form, page.get_by_role("dialog", name="Retire ")


def test_a_visitor_sees_a_log_in_and_no_desk(visit: Visit) -> None:
    page = visit.open("/editor")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    assert page.locator(".desk").count() == 0


def test_an_editor_lists_judges_and_retires_a_tool_and_logs_out(
    visit: Visit, instance: Instance, slug: str
) -> None:
    page = log_in(visit, instance, "--role", "editor")
    put_tool(page, slug, "Desk tool")
    expect(page.get_by_label("Category name")).to_have_value("Databases")

    take = page.locator("[data-put-take]")
    expect(take.get_by_label("Reviewer").locator("option")).to_have_count(7)
    take.get_by_label("Tool slug").fill(slug)
    take.get_by_label("Reviewer").select_option("builder")
    take.get_by_label("Score of 100").fill("71")
    take.get_by_label("Skip").check()
    take.get_by_label("Text").fill("Not yet.")
    take.get_by_role("button", name="Publish").click()
    expect(take.get_by_role("status")).to_have_text(IN_THE_LOG)

    retire, dialog = ask_to_retire(page, slug)
    expect(dialog).to_contain_text("Retire Desk tool?")
    dialog.get_by_role("button", name="Keep it").click()
    expect(retire.get_by_role("status")).to_have_text("Nothing was retired.")
    retire, dialog = ask_to_retire(page, slug)
    dialog.get_by_role("button", name="Retire it for good").click()
    expect(retire.get_by_role("status")).to_have_text(IN_THE_LOG)
    retire, dialog = ask_to_retire(page, slug)
    expect(retire.get_by_role("status")).to_have_text("This tool is already retired.")
    expect(dialog).to_be_hidden()

    card = read_tool(visit.site, slug)
    assert card["retired_at"] is not None
    verdict = card["verdict"]
    assert isinstance(verdict, dict)
    assert verdict["label"] == "Skip"

    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()


def test_escape_keeps_the_tool(visit: Visit, instance: Instance, slug: str) -> None:
    page = log_in(visit, instance, "--role", "editor")
    put_tool(page, slug, "Kept")
    retire, dialog = ask_to_retire(page, slug)
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(retire.get_by_role("status")).to_have_text("Nothing was retired.")
    expect(retire.get_by_role("button")).to_be_focused()
    assert read_tool(visit.site, slug)["retired_at"] is None


def test_a_loaded_tool_is_revised_once(visit: Visit, instance: Instance, slug: str) -> None:
    page = log_in(visit, instance, "--role", "editor")
    put_tool(page, slug, "First")
    page.reload()
    form = page.locator("[data-put-tool]")
    form.get_by_label("Slug", exact=True).fill(slug)
    form.get_by_role("button", name="Load what stands").click()
    expect(form.get_by_role("status")).to_have_text("Revision 1.")
    form.get_by_label("Tagline").fill("Better said")
    with page.expect_request(f"**/v1/tools/{slug}") as sent:
        form.get_by_role("button", name="Put the tool").click()
    assert re.fullmatch(r'"1-[0-9a-f]+(-gzip)?"', sent.value.all_headers()["if-match"])
    expect(form.get_by_role("status")).to_contain_text("Revision 2 is in the log")
    form.get_by_role("button", name="Put the tool").click()
    expect(form.get_by_role("status")).to_have_text("Nothing to change.")


def test_a_change_of_an_outdated_revision_is_rejected(visit: Visit, instance: Instance, slug: str) -> None:
    page = log_in(visit, instance, "--role", "editor")
    put_tool(page, slug, "Mine")
    elsewhere = visit.open("/editor")
    form = elsewhere.locator("[data-put-tool]")
    fill_tool(form, slug, "Theirs, unread")
    form.get_by_role("button", name="Put the tool").click()
    expect(form.get_by_role("status")).to_contain_text("is at revision 1, not 0")
    form.get_by_role("button", name="Load what stands").click()
    expect(form.get_by_label("Name", exact=True)).to_have_value("Mine")
    put_tool(elsewhere, slug, "Theirs")
    fill_tool(page.locator("[data-put-tool]"), slug, "Mine again")
    page.get_by_role("button", name="Put the tool").click()
    expect(page.locator("[data-put-tool]").get_by_role("status")).to_contain_text("is at revision 2, not 1")
    assert len(visit.problems) == 2  # the browser's own messages about the two rejected requests
    visit.problems.clear()


def test_a_reviewer_publishes_only_their_own_takes_and_changes_no_tool(
    visit: Visit, instance: Instance
) -> None:
    page = log_in(visit, instance, "--role", "reviewer", "--reviewer", "skeptic")
    expect(page.get_by_label("Reviewer").locator("option")).to_have_text(["Skeptic"])
    assert page.locator("[data-put-tool], [data-retire]").count() == 0


def test_a_wrong_password_is_reported(visit: Visit) -> None:
    page = visit.open("/editor")
    page.get_by_label("Name").fill("nobody")
    page.get_by_label("Password").fill("guessed")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("status").filter(has_text="wrong")).to_be_visible()
    assert page.locator(".desk").count() == 0
    visit.problems.clear()


def test_an_ended_session_shows_the_log_in_again(visit: Visit) -> None:
    visit.context.add_cookies([{"name": "shiplog_session", "value": "long-gone", "url": visit.site}])
    expect(visit.open("/editor").get_by_role("button", name="Log in")).to_be_visible()
