"""One operation of the document: what its route declares, and what follows from its guard, method, path and parameters."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from services.api.http.documented import Body
from services.api.http.permissions import Access
from services.api.openapi.examples import TEXTS
from services.api.openapi.headers import JsonObject, refer_to_headers
from services.api.openapi.parameters import STREAM, complete_parameter, headers_sent
from services.api.openapi.problems import HEAD_TOO_LARGE, refer_to_problem
from services.api.openapi.route import Route
from services.api.openapi.schemas import Schemas

_ALWAYS = {400, HEAD_TOO_LARGE, 500, 503}


def complete_operation(operation: JsonObject, route: Route, schemas: Schemas) -> JsonObject:
    """The operation as a whole. ``operation`` is the framework's."""
    parameters = [*map(complete_parameter, operation.get("parameters", [])), *headers_sent(route)]
    description = operation.get("description", "").replace("``", "`")
    whole: JsonObject = {
        "operationId": operation["operationId"],
        "tags": operation.get("tags") or [route.group.name],
        "summary": route.handler.handler_name.replace("_", " ").capitalize(),
        "description": description,
        "security": operation.get("security") or _security(route.access),
    }
    if parameters:
        whole["parameters"] = parameters
    if route.body:
        whole["requestBody"] = _request_body(route.body, schemas)
    return whole | {"responses": _responses(operation, route, schemas)}


def _security(access: Access) -> list[JsonObject]:
    requirements: list[JsonObject] = [{"visitor": []}] if access.visitor else []
    requirements += [{"key": [scope]} for scope in access.scopes]
    requirements += [{"session": [role]} for role in access.roles]
    return requirements + ([{}] if access.anonymous else [])


def _request_body(body: Body, schemas: Schemas) -> JsonObject:
    return {
        "required": body.required,
        "content": {media: _content_sent(media, each, schemas) for media, each in body.content.items()},
    }


def _content_sent(media_type: str, type: Any, schemas: Schemas) -> JsonObject:
    """A body that is no JSON is a file to generators of clients."""
    content = _content(media_type, type, schemas)
    return content if type is not str else content | {"schema": {"type": "string", "format": "binary"}}


def _content(media_type: str, type: Any, schemas: Schemas) -> JsonObject:
    content: JsonObject = {"schema": schemas.of(type)}
    if example := TEXTS.get(media_type):
        content["example"] = example
    return content


def _responses(operation: JsonObject, route: Route, schemas: Schemas) -> JsonObject:
    declared = {int(status) for status in operation["responses"]}
    succeeded = {
        str(status): _success(status, operation["responses"][str(status)], route, schemas)
        for status in sorted(declared)
        if status < 300
    }
    headers = {name for response in succeeded.values() for name in response["headers"]}
    if "If-None-Match" in {each["name"] for each in headers_sent(route)}:
        kept = headers - {"Link", "Set-Cookie"}
        succeeded["304"] = {
            "description": "The answer still has the ETag that was sent.",
            "headers": refer_to_headers(*sorted(kept)),
        }
    return succeeded | {str(status): refer_to_problem(status) for status in _problems(declared, route)}


def _problems(declared: set[int], route: Route) -> list[int]:
    """The statuses of errors: those that the route declares, and those that follow from what it is."""
    statuses = {status for status in declared if status >= 400} | _ALWAYS
    if route.path.startswith("/v1/"):
        statuses.add(401)  # a key that is not valid is never ignored
    if route.method == "get":
        statuses.add(406)  # no encoding is accepted
    else:
        statuses.add(403)  # from a page of another site
    if route.access.roles or route.access.scopes:
        statuses.add(403)
    if route.body:
        statuses |= {408, 413, 415}
    return sorted(statuses)


def _success(status: int, response: JsonObject, route: Route, schemas: Schemas) -> JsonObject:
    whole: JsonObject = {
        "description": HTTPStatus(status).phrase,
        "headers": refer_to_headers(*sorted(_headers_answered(route))),
    }
    if route.answer is None:
        return whole
    media_types = [name.partition(";")[0] for name in response.get("content", {"application/json": {}})]
    return whole | {"content": {name: _content(name, route.answer, schemas) for name in media_types}}


def _headers_answered(route: Route) -> set[str]:
    names = {each.name for each in route.handler.resolve_response_headers()} | {"Cache-Control"}
    parameters = set(route.handler.parsed_fn_signature.parameters)
    if "min_position" in parameters:
        names |= {"Shiplog-Position", "Shiplog-Lag-Ms", "Shiplog-Incomplete"}
    if "cursor" in parameters:
        names.add("Link")
    if route.method == "get":
        names |= {"Access-Control-Allow-Origin", "Vary"} if _is_public(route) else set()
        names |= {"ETag"} if route.handler.media_type != STREAM else set()
    elif route.access.visitor:
        names.add("Set-Cookie")
    if 429 in (route.handler.responses or {}):
        names |= {"RateLimit", "RateLimit-Policy"}
    return names


def _is_public(route: Route) -> bool:
    return route.access == Access(anonymous=True) and not route.handler.resolve_security()
