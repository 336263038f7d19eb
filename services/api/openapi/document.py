"""The OpenAPI document: the framework's, completed by what guards, types and declarations of the routes say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import OpenAPI
from litestar.plugins import ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute

from services.api.http.problems import Problem
from services.api.openapi.examples import BODIES
from services.api.openapi.headers import HEADERS, JsonObject
from services.api.openapi.operations import complete_operation
from services.api.openapi.problems import problem_components
from services.api.openapi.route import Route
from services.api.openapi.schemas import Schemas
from services.api.openapi.tags import in_order
from services.auth.identity import SESSION_COOKIE, VISITOR_COOKIE

_SECURITY_SCHEMES: JsonObject = {
    "visitor": {
        "type": "apiKey",
        "in": "cookie",
        "name": VISITOR_COOKIE,
        "description": "Set by a visitor's first write: signed, HttpOnly, SameSite=Lax. One visitor has one vote for each tool.",
    },
    "key": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "slk_…",
        "description": "An API key, from `shiplog keys create`. What an operation lists beside it is the scope that the key "
        "needs: `votes:write`, `catalogue:write` or `read`.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION_COOKIE,
        "description": "A log-in, from `POST /v1/session`. What an operation lists beside it is the role that the user needs: "
        "`editor` or `reviewer`. Writes must come from the site's own pages.",
    },
}


class RouteCollector(ReceiveRoutePlugin):
    """The routes that the document shows, in the order of their registration."""

    def __init__(self) -> None:
        self.routes: list[Route] = []

    def receive_route(self, route: BaseRoute) -> None:
        if not isinstance(route, HTTPRoute):
            return
        for method, (handler, _) in route.route_handler_map.items():
            if handler.resolve_include_in_schema():
                self.routes.append(Route(handler, route.path_format, method.lower()))


@dataclass
class _Document(OpenAPI):
    """Completed when it is first asked for, since few processes ever are."""

    collector: RouteCollector | None = None

    def to_schema(self) -> dict[str, Any]:
        collector, self.collector = self.collector, None
        try:
            framework = super().to_schema()
        finally:
            self.collector = collector
        return framework if collector is None else _complete(framework, collector.routes)


@dataclass
class DocumentConfig(OpenAPIConfig):
    """``collector`` is one of the app's plugins too."""

    collector: RouteCollector | None = None

    def to_openapi_schema(self) -> OpenAPI:
        made = super().to_openapi_schema()
        return _Document(
            info=made.info,
            servers=made.servers,
            components=made.components,
            paths=made.paths,
            collector=self.collector,
        )


def _complete(framework: JsonObject, routes: Sequence[Route]) -> JsonObject:
    sent = [body for route in routes if route.body for body in route.body.content.values()]
    schemas = Schemas([Problem, *(body for route in routes for body in route.types())], sent)
    paths: JsonObject = {}
    for route in routes:
        operation = framework["paths"][route.path][route.method]
        paths.setdefault(route.path, {})[route.method] = complete_operation(operation, route, schemas)
    for name in BODIES.keys() & schemas.components.keys():
        schemas.components[name]["examples"] = [BODIES[name]]
    groups = in_order({route.group for route in routes})
    return {
        "openapi": framework["openapi"],
        "info": framework["info"],
        "servers": framework["servers"],
        "tags": [{"name": group.name, "description": group.description} for group in groups],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": problem_components(_statuses(paths)),
            "headers": HEADERS,
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


def _statuses(paths: JsonObject) -> set[int]:
    operations = [operation for item in paths.values() for operation in item.values()]
    return {
        int(status) for operation in operations for status in operation["responses"] if int(status) >= 400
    }
