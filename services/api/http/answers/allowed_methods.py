"""Answers to OPTIONS name every method of a path."""

from __future__ import annotations

from litestar.plugins import ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute


class AllowedMethods(ReceiveRoutePlugin):
    """The framework answers with the methods of the first handler that was registered under a path; this adds the others."""

    def __init__(self) -> None:
        self._first: dict[str, HTTPRoute] = {}

    def receive_route(self, route: BaseRoute) -> None:
        if isinstance(route, HTTPRoute):
            first = self._first.setdefault(route.path, route)
            first.methods.update(route.methods)
