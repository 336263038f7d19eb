"""The rule lab in a real browser: a rulebook is written, tried, adopted and rolled back; and read without scripts."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from http.cookies import SimpleCookie
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from services.auth.identity import SESSION_COOKIE
from tests.browser.test_editor import log_in, read_tool
from tests.browser.test_pages import SMOL, TIMEOUT_MS
from tests.browser.visit import Visit
from tests.support.instances import Instance

PHONE: ViewportSize = {"width": 390, "height": 844}


def label(site: str) -> str:
    verdict = read_tool(site, SMOL)["verdict"]
    assert isinstance(verdict, dict)
    return str(verdict["label"])


@pytest.fixture(scope="module")
def session(instance: Instance) -> str:
    """The session of an editor, opened once for this module."""
    user = json.loads(
        instance.command("users", "create", f"lab-{uuid4().hex[:8]}", "--role", "editor", "--json")
    )
    body = json.dumps({"name": user["name"], "password": user["password"]}).encode()
    request = urllib.request.Request(f"{instance.url}/v1/session", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        cookie: str = SimpleCookie(answer.headers["Set-Cookie"])[SESSION_COOKIE].value
    return cookie


@pytest.fixture
def page(visit: Visit, session: str) -> Page:
    """The lab, open to an editor."""
    visit.context.add_cookies([{"name": SESSION_COOKIE, "value": session, "url": visit.site}])
    page = visit.open("/editor")
    page.get_by_role("link", name="The rule lab").click()
    expect(page.get_by_role("heading", name="Rulebooks", exact=True)).to_be_visible()
    return page


def write(page: Page, toml: str) -> Locator:
    form = page.locator("[data-write]")
    form.get_by_label("Rulebook").fill(toml)
    form.get_by_role("button", name="Write it").click()
    return form


def rulebook(page: Page, title: str) -> Locator:
    return page.locator(".rulebooks > li", has=page.get_by_role("heading", name=title))


def try_out(page: Page, title: str) -> None:
    """Run a trial; the page is then the page of its results."""
    rulebook(page, title).get_by_role("button", name="Try it").click()
    expect(page.locator(".totals")).to_be_visible(timeout=TIMEOUT_MS)


@pytest.fixture
def restore_rulebook(instance: Instance, site: str) -> Iterator[None]:
    """Put the default rulebook back in force after the test, even if it fails: other tests rely on it."""
    yield
    with urllib.request.urlopen(f"{site}/v1/rulebooks", timeout=10) as answer:
        in_force = next(each["name"] for each in json.load(answer)["items"] if each["in_force"])
    if in_force != "default":
        instance.command("adopt", "default", "--reason", "a test did not end")


@pytest.mark.usefixtures("restore_rulebook")
def test_a_rulebook_is_written_tried_adopted_and_rolled_back(visit: Visit, page: Page) -> None:
    title = f"Strict {uuid4().hex[:6]}"
    assert label(visit.site) == "Ship"
    write(page, f'name = "strict"\ntitle = "{title}"\nship = ">= 80%"\n')
    expect(rulebook(page, title)).to_contain_text("written on")

    try_out(page, title)
    expect(page.locator(".totals")).to_contain_text(re.compile(r"\d+ of \d+ verdicts would be"))
    flips = page.locator(".wide-record").first.get_by_role("row").filter(has_text="SmolAgents 2.0")
    expect(flips.locator(".stamp")).to_have_text(["Ship", "Split"])
    assert label(visit.site) == "Ship"

    page.get_by_label("Reason, for all to read").fill("Three of four is not enough")
    page.get_by_role("button", name="Adopt", exact=True).click()
    expect(page.get_by_text("It is in force")).to_be_visible(timeout=TIMEOUT_MS)
    expect(page.locator(".notice:visible")).to_contain_text(f"{title} was adopted")
    assert label(visit.site) == "Split"

    page.get_by_role("link", name="Rule lab").click()
    expect(page.locator(".steps > li").first).to_contain_text("Three of four is not enough")
    expect(rulebook(page, title)).to_contain_text("in force")
    back = page.locator("[data-roll-back]")
    back.get_by_label("Reason").fill("Too many complained")
    back.get_by_role("button", name="Roll back").click()
    expect(page.locator(".steps > li").first).to_contain_text("Too many complained", timeout=TIMEOUT_MS)
    expect(rulebook(page, "Panel majority")).to_contain_text("in force")
    assert label(visit.site) == "Ship"


def test_an_adoption_is_scheduled_and_called_off(page: Page) -> None:
    one = rulebook(page, "By score")
    one.get_by_text("Adopt…").click()
    one.get_by_label("Reason").fill("From the new year on")
    one.get_by_label("When").fill("2099-01-01T00:00")
    one.get_by_role("button", name="Adopt", exact=True).click()
    expect(one).to_contain_text("To be adopted at 2099-01-01 00:00 UTC", timeout=TIMEOUT_MS)
    one.get_by_role("button", name="Call it off").click()
    expect(one).not_to_contain_text("To be adopted", timeout=TIMEOUT_MS)
    expect(page.locator(".steps > li").first).to_contain_text("Called off: By score")


WRONG = [
    ('name = "x"\nship = "80%"\n', "Line 2. This is not a valid rulebook: `ship`", 'ship = "80%"'),
    (
        'name = "x"\n[community]\nz = "abc"\n',
        "Line 3. This is not a valid rulebook: `community.z`",
        'z = "abc"',
    ),
    (
        'name = "x"\n[panel]\nquorum = 0\n',
        "Line 3. This is not a valid rulebook: `panel.quorum`",
        "quorum = 0",
    ),
    ('name = "x"\n\n[panel\n', "Line 3. This is not a valid rulebook", "[panel"),
    ('title = "x"\n', "`name`", ""),
]


def test_an_error_names_the_field_and_selects_its_line(visit: Visit, page: Page) -> None:
    editor = page.locator("[data-write]").get_by_label("Rulebook")
    for toml, message, selected in WRONG:
        expect(write(page, toml).get_by_role("status")).to_contain_text(message)
        expect(editor).to_have_attribute("aria-invalid", "true")
        assert editor.evaluate("e => e.value.slice(e.selectionStart, e.selectionEnd)") == selected
    visit.problems.clear()  # the browser's own messages about the rejected requests


def test_a_new_rulebook_starts_from_the_text_of_another(page: Page) -> None:
    one = rulebook(page, "Lower bound")
    one.get_by_text("As text").click()
    one.get_by_role("button", name="Start from this").click()
    editor = page.locator("[data-write]").get_by_label("Rulebook")
    expect(editor).to_have_value(re.compile(r'bound = "interval"'))
    expect(editor).to_be_focused()


def test_a_trial_is_read_without_scripts_and_on_a_phone(visit: Visit, page: Page, browser: Browser) -> None:
    try_out(page, "Four in five")
    trial = page.url
    page.goto(f"{visit.site}/editor/lab")
    try_out(page, "By score")
    state = visit.context.storage_state()
    bare = browser.new_context(java_script_enabled=False, storage_state=state, viewport=PHONE)
    shown = bare.new_page()
    shown.goto(trial)
    expect(shown.locator(".totals")).to_be_visible()
    for heading in ("Verdicts that flip now", "Flips in the whole history", "Margins"):
        expect(shown.get_by_role("heading", name=heading)).to_be_visible()
    expect(shown.get_by_role("button", name="Adopt")).to_be_hidden()
    shown.goto(f"{visit.site}/editor/lab")
    shown.get_by_role("link", name="The newest of each rulebook, side by side").click()
    expect(shown.get_by_role("columnheader").filter(has_text="Four in five")).to_be_visible()
    bare.close()
    for path in ("/editor/lab", trial.removeprefix(visit.site)):
        page.set_viewport_size(PHONE)
        page.goto(visit.site + path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_lab_is_for_editors_only(visit: Visit, instance: Instance) -> None:
    page = visit.open("/editor/lab")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    assert page.locator(".rulebooks").count() == 0
    log_in(visit, instance, "--role", "reviewer", "--reviewer", "skeptic")
    page.reload()
    expect(page.get_by_text("The lab is for editors.")).to_be_visible()
    assert page.locator(".rulebooks").count() == 0
