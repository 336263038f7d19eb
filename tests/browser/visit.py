"""A visit to the site in its own browser context. Records the hosts contacted and the errors logged."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request


class Visit:
    """``hosts`` are all that were contacted, ``problems`` the errors and warnings of the console and of scripts."""

    def __init__(self, context: BrowserContext, site: str) -> None:
        self.context, self.site = context, site
        self.hosts: set[str] = set()
        self.problems: list[str] = []
        context.on("request", self._loaded)
        context.on("console", self._logged)
        context.on("weberror", lambda error: self.problems.append(str(error.error)))

    def _loaded(self, request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.hosts.add(urlsplit(request.url).netloc)

    def _logged(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def open(self, path: str) -> Page:
        page = self.context.new_page()
        page.goto(self.site + path)
        return page
