"""Parameters: those of a handler's signature, and the request headers that the layers around the handler read."""

from __future__ import annotations

from collections.abc import Iterator

from services.api.openapi.examples import DESCRIPTIONS, PARAMETERS
from services.api.openapi.headers import JsonObject
from services.api.openapi.route import Route
from services.api.openapi.schemas import portable

STREAM = "text/event-stream"
_SLUG = "[a-z0-9]+(-[a-z0-9]+)*"
_UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
# Of what the routes check themselves: lists in one parameter, and a digest or name.
_PATTERNS = {
    "ids": {"pattern": f"^{_UUID}(,{_UUID})*$"},
    "rulebook": {"pattern": f"^(sha256:[0-9a-f]{{64}}|{_SLUG})$"},
    "tools": {"pattern": f"^{_SLUG}(,{_SLUG})*$"},
}
_NOISE = ("deprecated", "allowEmptyValue", "allowReserved")


def complete_parameter(parameter: JsonObject) -> JsonObject:
    """Null cannot be sent in a path, query or header, so it is no value there."""
    schema: JsonObject = dict(parameter["schema"])
    members = [each for each in schema.pop("oneOf", []) if each != {"type": "null"}]
    schema = (members[0] | schema) if len(members) == 1 else schema
    schema.pop("description", None)
    schema = _PATTERNS.get(parameter["name"], {}) | schema
    if pattern := schema.get("pattern"):
        schema["pattern"] = portable(pattern)
    for bound in ("minimum", "maximum"):
        if bound in schema:
            schema[bound] = int(schema[bound])
    whole = {name: value for name, value in parameter.items() if name not in _NOISE} | {"schema": schema}
    if description := DESCRIPTIONS.get(parameter["name"]):
        whole = {"description": description} | whole
    if (example := PARAMETERS.get(parameter["name"])) is not None:
        whole["example"] = example
    return whole


def headers_sent(route: Route) -> Iterator[JsonObject]:
    """Request headers that the layers around the route read."""
    if route.method == "get" and route.handler.media_type != STREAM:
        yield _header_sent("If-None-Match", "An ETag: 304 if the answer still has it.", {})
    if route.body and route.body.encodings:
        yield _header_sent(
            "Content-Encoding", "How the body is compressed.", {"enum": [*route.body.encodings]}
        )


def _header_sent(name: str, description: str, schema: JsonObject) -> JsonObject:
    header = {
        "name": name,
        "in": "header",
        "description": description,
        "required": False,
        "schema": {"type": "string"} | schema,
    }
    return header | ({"example": PARAMETERS[name]} if name in PARAMETERS else {})
