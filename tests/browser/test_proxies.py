"""Through a real proxy with TLS, in a browser: vote, bookmark, log-in, feed and live stream, under a path too."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4
from xml.etree import ElementTree as ET

import pytest
from playwright.sync_api import Browser, Page, expect

from services.auth.identity import SESSION_COOKIE, VISITOR_COOKIE
from tests.browser.test_pages import list_tool, open_when_shown
from tests.browser.visit import Visit
from tests.support.instances import Instance, free_port
from tests.support.proxies import (
    HOST,
    documented,
    program,
    run_haproxy,
    run_nginx,
    serve_beside,
    write_certificate,
)

ATOM = "{http://www.w3.org/2005/Atom}"
TRUSTED = {"SHIPLOG_TRUSTED_PROXIES": "127.0.0.0/8"}
# nginx as people first write it: it sends its own Host, and nothing about the request.
BARE = """
server {
    listen 443 ssl;
    ssl_certificate verdicts.example.pem;
    ssl_certificate_key verdicts.example.pem;
    LOCATION
}
"""
UNDER_SHIP = "http-request set-header X-Forwarded-Prefix /ship\n    http-request replace-path /ship(/.*)? \\1"


def bare(location: str) -> str:
    return BARE.replace("LOCATION", location)


@dataclass(frozen=True)
class Setup:
    """A proxy and its configuration; ``told``: whether SHIPLOG_PUBLIC_URL is set; and the path people see."""

    run: Callable[[Path, int, int, str], AbstractContextManager[None]]
    configuration: str
    told: bool
    settings: dict[str, str]
    prefix: str = ""


SETUPS = {
    "nginx": Setup(run_nginx, documented("nginx"), True, TRUSTED),
    "nginx that sends its own Host": Setup(
        run_nginx, bare("location / { proxy_pass http://127.0.0.1:8000; }"), False, {}
    ),
    "nginx that removes the prefix": Setup(
        run_nginx, bare("location /ship/ { proxy_pass http://127.0.0.1:8000/; }"), True, {}, "/ship"
    ),
    "nginx that passes the prefix on": Setup(
        run_nginx, bare("location /ship/ { proxy_pass http://127.0.0.1:8000; }"), True, {}, "/ship"
    ),
    "haproxy": Setup(run_haproxy, documented("haproxy"), False, TRUSTED),
    "haproxy that reports a prefix": Setup(
        run_haproxy,
        documented("haproxy").replace("http-request del-header X-Forwarded-Prefix", UNDER_SHIP),
        False,
        TRUSTED,
        "/ship",
    ),
}


@contextmanager
def reached_through(setup: Setup, instance: Instance, folder: Path) -> Iterator[str]:
    """The address of the instance through the proxy."""
    write_certificate(folder)
    port = free_port()
    url = f"https://{HOST}:{port}{setup.prefix}"
    told = {"SHIPLOG_PUBLIC_URL": url} if setup.told else {}
    with (
        serve_beside(instance, folder, setup.settings | told) as upstream,
        setup.run(folder, port, upstream, setup.configuration),
    ):
        yield url


@pytest.fixture(scope="module")
def editor(instance: Instance) -> dict[str, str]:
    """Name and password."""
    made = instance.command("users", "create", "behind-proxies", "--role", "editor", "--json")
    return dict(json.loads(made))


# The documented ones, one of them under a path; `make faults` has them all.
QUICK = ("nginx", "haproxy that reports a prefix")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SETUPS]
)
def test_everything_works_through(
    name: str,
    browser: Browser,
    instance: Instance,
    editor_key: str,
    editor: dict[str, str],
    tmp_path: Path,
) -> None:
    program(name.partition(" ")[0])  # skips before anything is started
    setup = SETUPS[name]
    tool = f"tool-{uuid4().hex[:12]}"
    list_tool(instance.url, editor_key, tool, tool)
    with reached_through(setup, instance, tmp_path) as url:
        visit = Visit(browser.new_context(ignore_https_errors=True), url)
        page = open_when_shown(visit, f"/tools/{tool}")
        vote_and_bookmark(page)
        follow_links(page, url)
        read_feed(page, url, knows_host=setup.told or bool(setup.settings))
        log_in(page, url, editor)
        cookies = {each["name"]: each for each in visit.context.cookies()}  # type: ignore[typeddict-item]
        knows_scheme = setup.told or bool(setup.settings)
        for cookie in (VISITOR_COOKIE, SESSION_COOKIE):
            assert (cookies[cookie]["path"], cookies[cookie]["secure"]) == (setup.prefix or "/", knows_scheme)
        visit.context.close()
        assert visit.problems == []
        assert visit.hosts == {urlsplit(url).netloc}


def vote_and_bookmark(page: Page) -> None:
    """Each is shown again after a reload, and the stream brings the vote of somebody else."""
    expect(page.locator("[data-live=live]")).to_have_text("live", timeout=20_000)
    page.get_by_role("button", name="Ship", exact=True).click()
    expect(page.locator(".tally [data-part=total]")).to_have_text("1")
    page.locator("[data-bookmark]").click()
    expect(page.locator("[data-part=saved]")).to_have_text("1")
    page.reload()
    expect(page.get_by_role("button", name="Ship", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("[data-part=saved]")).to_have_text("1")
    expect(page.locator("[data-live=live]")).to_have_text("live", timeout=20_000)


def follow_links(page: Page, url: str) -> None:
    page.locator("[data-open-drawer]").click()
    page.get_by_role("dialog").get_by_role("listitem").get_by_role("link").click()
    expect(page.locator("h1")).to_have_count(1)
    page.get_by_role("link", name="Verdicts that changed").click()
    expect(page).to_have_url(f"{url}/flips")
    page.get_by_role("link", name="Shiplog").first.click()
    expect(page).to_have_url(f"{url}/")


def read_feed(page: Page, url: str, *, knows_host: bool) -> None:
    answer = page.request.get(f"{url}/v1/verdicts/flips.atom")
    links = {
        link.get("rel"): link.get("href") for link in ET.fromstring(answer.body()).findall(f"{ATOM}link")
    }
    base = url if knows_host else ""
    assert links == {"self": f"{base}/v1/verdicts/flips.atom", "alternate": f"{base}/flips"}


def log_in(page: Page, url: str, editor: dict[str, str]) -> None:
    page.goto(f"{url}/editor")
    page.get_by_label("Name", exact=True).first.fill(editor["name"])
    page.get_by_label("Password").fill(editor["password"])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
