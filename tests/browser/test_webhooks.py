"""Webhooks on the editors' desk in a real browser: opened, tested, redelivered, removed."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Page, expect
from standardwebhooks.webhooks import Webhook

from tests.browser.test_editor import log_in
from tests.browser.visit import Visit
from tests.support.instances import Instance

SECRET = re.compile(r"whsec_\S+")


class Receiver(ThreadingHTTPServer):
    """Answers with ``status``, and keeps the headers and body of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.status = 200
        self.requests: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Answer(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append((dict(self.headers), body))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b"<script>alert(1)</script>")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        yield receiver
        receiver.shutdown()


def open_webhook(page: Page, url: str, tools: str = "") -> str:
    """Open a webhook; its secret."""
    form = page.locator("[data-open-webhook]")
    form.get_by_label("Receiver's URL").fill(url)
    form.get_by_label("Tools, by slug").fill(tools)
    form.get_by_label("Description").fill("Ours")
    form.get_by_role("button", name="Open a webhook").click()
    expect(form.get_by_role("status")).to_have_text("The webhook is open.")
    secret = SECRET.search(page.locator(".secret").inner_text())
    assert secret is not None
    return secret[0]


def test_an_editor_opens_a_webhook_tests_it_redelivers_and_removes_it(
    visit: Visit, instance: Instance, receiver: Receiver
) -> None:
    page = log_in(visit, instance, "--role", "editor")
    receiver.status = 500
    secret = open_webhook(page, receiver.url, "smolagents-2-0")
    hook = page.locator(".hooks > li").filter(has_text=receiver.url)
    expect(hook).to_contain_text("Ours · smolagents-2-0")
    hook.get_by_role("button", name="Send a test").click()
    sent = hook.locator(".sent > li")
    expect(sent).to_contain_text("webhook.ping pending", timeout=15_000)
    expect(sent).to_contain_text("the receiver answered 500 · <script>alert(1)</script>", timeout=15_000)

    receiver.status = 200
    sent.get_by_role("button", name="Send again").click()
    expect(sent).to_contain_text("webhook.ping delivered", timeout=15_000)
    headers, body = receiver.requests[-1]
    assert Webhook(secret).verify(body, headers)["type"] == "webhook.ping"
    assert headers["webhook-id"] == receiver.requests[0][0]["webhook-id"]

    hook.get_by_role("button", name="New secret").click()
    expect(page.locator(".secret")).not_to_contain_text(secret)
    expect(hook.get_by_role("status")).to_contain_text("signed with both")
    hook.get_by_role("button", name="Remove").click()
    hook.get_by_role("button", name="Remove it for good").click()
    expect(hook).to_have_count(0)


def test_a_receiver_that_is_gone_is_shown_and_enabled_again(
    visit: Visit, instance: Instance, receiver: Receiver
) -> None:
    page = log_in(visit, instance, "--role", "editor")
    receiver.status = 410
    open_webhook(page, receiver.url)
    hook = page.locator(".hooks > li").filter(has_text=receiver.url)
    hook.get_by_role("button", name="Send a test").click()
    expect(hook.locator(".sent > li")).to_contain_text("webhook.ping failed", timeout=15_000)
    page.reload()
    expect(hook).to_contain_text("The receiver answered 410 Gone.")
    expect(hook.get_by_role("button", name="Send a test")).to_be_hidden()
    hook.get_by_role("button", name="Enable").click()
    expect(hook.get_by_role("button", name="Send a test")).to_be_visible()


def test_a_private_address_is_reported(visit: Visit, instance: Instance) -> None:
    page = log_in(visit, instance, "--role", "editor")
    form = page.locator("[data-open-webhook]")
    form.get_by_label("Receiver's URL").fill("https://169.254.169.254/latest/meta-data")
    form.get_by_role("button", name="Open a webhook").click()
    expect(form.get_by_role("status")).to_contain_text("resolves to an address that is not public")
    visit.problems.clear()


def test_a_reviewer_sees_no_webhooks(visit: Visit, instance: Instance) -> None:
    page = log_in(visit, instance, "--role", "reviewer", "--reviewer", "skeptic")
    assert page.locator("[data-webhooks]").count() == 0
