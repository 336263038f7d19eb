"""From an empty instance to a published comparison, through the desk alone, on a wide screen and on a phone."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.visit import Visit
from tests.support.instances import Instance, start_instance

pytestmark = pytest.mark.xdist_group("empty instance")
SCREENS = os.environ.get("SHIPLOG_SCREENSHOTS")
REVIEWERS = {"builder": "Builder", "skeptic": "Skeptic", "pm": "PM"}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with start_instance(tmp_path_factory.mktemp("first-run") / "data", "--empty") as running:
        yield running


@pytest.fixture
def visit(browser: Browser, empty: Instance) -> Iterator[Visit]:
    visit = Visit(browser.new_context(), empty.url)
    yield visit
    visit.context.close()
    assert visit.problems == []


def keep(page: Page, name: str) -> None:
    """A screenshot of both widths, if a folder for them is named. Neither width may scroll sideways."""
    for width in (1280, 375):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} at {width} px"
        if SCREENS:
            page.screenshot(path=Path(SCREENS) / f"{name}-{width}.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 900})


def send(form: Locator, button: str, answer: str, **fields: str) -> None:
    for label, text in fields.items():
        form.get_by_label(label.replace("_", " "), exact=True).fill(text)
    form.get_by_role("button", name=button, exact=True).click()
    expect(form.get_by_role("status")).to_contain_text(answer)


def seat(page: Page, slug: str, name: str) -> None:
    form = page.locator("[data-put-reviewer]")
    form.get_by_label("Reviewer's slug").fill(slug)
    form.get_by_label("Reviewer's name").fill(name)
    form.get_by_label("Question they ask").fill(f"What does {name} ask?")
    form.get_by_role("button", name="Put the reviewer").click()
    expect(form.get_by_role("status")).to_have_text(f"{name} is on the panel.")


def panel_of(page: Page) -> Locator:
    return page.locator("[data-panel] [data-slug]:not([data-retired]) h3")


def list_tool(page: Page, slug: str, name: str) -> None:
    form = page.locator("[data-put-tool]")
    send(form, "Put the tool", "is in the log", Slug=slug, Name=name, Category_slug="editors", Category_name="Editors", Entry_price="Free")  # fmt: skip


def publish(page: Page, tool: str, reviewer: str, score: str, choice: str) -> None:
    form = page.locator("[data-put-take]")
    form.get_by_label("Reviewer").select_option(reviewer)
    form.get_by_label(choice, exact=True).check()
    send(form, "Publish", "is in the log", Tool_slug=tool, Score_of_100=score, Text=f"{reviewer} on {tool}.")


def read(site: str, path: str) -> dict[str, object]:
    with urllib.request.urlopen(site + path, timeout=10) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def log_in(page: Page, name: str, password: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".who")).to_contain_text(f"Logged in as {name}")


def test_an_empty_instance_leads_to_a_published_comparison(visit: Visit, empty: Instance) -> None:
    """The first password is taken for lost: the command that `up` names gives another."""
    page = visit.open("/")
    expect(page.get_by_role("heading", name="This Shiplog is new")).to_be_visible()
    assert "0 reviewers" not in page.content()
    keep(page, "home-empty")
    page.locator(".first-steps").get_by_role("link", name="editors' desk").click()
    password = json.loads(empty.command("users", "password", "editor", "--json"))["password"]
    log_in(page, "editor", password)
    keep(page, "desk-empty")

    for slug, name in REVIEWERS.items():
        seat(page, slug, name)
    expect(panel_of(page)).to_have_text(["Builder", "Skeptic", "PM"])
    page.get_by_role("button", name="Move PM up").click()
    expect(panel_of(page)).to_have_text(["Builder", "PM", "Skeptic"])
    list_tool(page, "zed", "Zed")
    list_tool(page, "neovim", "Neovim")
    expect(page.locator(".first-steps li.done")).to_have_count(3)
    publish(page, "zed", "builder", "80", "Ship")
    publish(page, "neovim", "skeptic", "30", "Skip")
    expect(page.locator("[data-takes] li")).to_have_count(2)
    keep(page, "desk-filled")

    page.locator(".first-steps").get_by_role("link", name="The two side by side").click()
    expect(page.get_by_role("complementary", name="Which of the two")).to_contain_text("Zed")
    keep(page, "comparison")
    expect(visit.open("/").get_by_role("heading", name="This Shiplog is new")).to_have_count(0)

    expect(visit.open("/editor").locator(".first-steps")).to_have_count(0)


def test_the_desk_revises_retires_and_restores_a_reviewer_and_withdraws_a_take(
    visit: Visit, empty: Instance
) -> None:
    page = editor_of(visit, empty)
    seat(page, "critic", "Critic")
    list_tool(page, "helix", "Helix")
    publish(page, "helix", "critic", "20", "Skip")

    form = page.locator("[data-put-reviewer]")
    page.get_by_role("button", name="Revise Critic", exact=True).click()
    expect(form.get_by_label("Reviewer's name")).to_have_value("Critic")
    form.get_by_label("Reviewer's name").fill("The Critic")
    form.get_by_role("button", name="Put the reviewer").click()
    expect(form.get_by_role("status")).to_have_text("The Critic is revised.")

    retire = page.get_by_role("button", name="Retire The Critic")
    retire.click()
    expect(panel_of(page).filter(has_text="Critic")).to_have_count(1)
    retire.click()
    expect(panel_of(page).filter(has_text="Critic")).to_have_count(0)
    expect(page.get_by_label("Reviewer", exact=True).locator("option", has_text="Critic")).to_have_count(0)
    assert read(visit.site, "/v1/tools/helix/verdict")["label"] == "Skip"
    keep(page, "desk-retired")
    expect(visit.open("/reviewers/critic").locator(".notice")).to_contain_text("The takes below stay")

    page.get_by_role("button", name="Restore The Critic").click()
    expect(panel_of(page).filter(has_text="Critic")).to_have_count(1)
    withdraw = page.get_by_role("button", name="Withdraw The Critic on Helix")
    withdraw.click()
    withdraw.click()
    expect(page.locator("[data-takes]").get_by_role("status")).to_contain_text("is withdrawn")
    assert read(visit.site, "/v1/tools/helix/verdict")["label"] == "Unreviewed"


def test_a_reviewer_sees_and_withdraws_their_own_takes_alone(visit: Visit, empty: Instance) -> None:
    page = editor_of(visit, empty)
    seat(page, "founder", "Founder")
    seat(page, "operator", "Operator")
    list_tool(page, "kakoune", "Kakoune")
    publish(page, "kakoune", "founder", "70", "Ship")
    publish(page, "kakoune", "operator", "40", "Skip")
    page.get_by_role("button", name="Log out").click()
    user = empty.command("users", "create", "oscar", "--role", "reviewer", "--reviewer", "operator", "--json")
    log_in(page, "oscar", json.loads(user)["password"])
    expect(page.locator("[data-takes] li")).to_have_text([r for r in page.locator("[data-takes] li").all_inner_texts() if "Operator" in r])  # fmt: skip
    expect(page.locator("[data-takes] li")).to_have_count(1)
    assert page.locator("[data-panel], [data-put-tool], [data-retire], [data-webhooks]").count() == 0
    page.get_by_role("button", name="Revise Operator on Kakoune").click()
    expect(page.locator("[data-put-take]").get_by_label("Score of 100")).to_have_value("40")
    keep(page, "desk-reviewer")


def test_a_person_changes_their_password_and_ends_their_sessions(
    visit: Visit, browser: Browser, empty: Instance
) -> None:
    user = json.loads(empty.command("users", "create", "vera", "--role", "editor", "--json"))
    page = visit.open("/editor")
    log_in(page, "vera", user["password"])
    with browser.new_context() as elsewhere:
        other = elsewhere.new_page()
        other.goto(f"{visit.site}/editor")
        log_in(other, "vera", user["password"])
        page.reload()
        expect(page.locator("[data-session]")).to_have_count(2)
        page.get_by_role("button", name="End it").click()
        expect(page.locator("[data-session]")).to_have_count(1)
        other.reload()
        expect(other.get_by_role("button", name="Log in")).to_be_visible()

        log_in(other, "vera", user["password"])
        form = page.locator("[data-change-password]")
        form.get_by_label("Current password").fill(user["password"])
        form.get_by_label("New password").fill("a password of my own")
        form.get_by_role("button", name="Change the password").click()
        expect(form.get_by_role("status")).to_contain_text("All other sessions have ended")
        other.reload()
        log_in(other, "vera", "a password of my own")
    page.reload()
    expect(page.locator(".who")).to_contain_text("Logged in as vera")


def editor_of(visit: Visit, empty: Instance) -> Page:
    """The desk, with a new editor logged in."""
    name = f"editor-{id(visit)}"
    user = json.loads(empty.command("users", "create", name, "--role", "editor", "--json"))
    page = visit.open("/editor")
    log_in(page, name, user["password"])
    return page
