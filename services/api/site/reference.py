"""The reference of the API: the OpenAPI document as a page of the site, without scripts of its own."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Request, Router
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from markupsafe import Markup, escape

from services.api.http.auth import open_to_all
from services.api.http.public_address import public_address
from services.api.site.rendering import SECURITY_HEADERS, render_template, templates

JsonObject = Mapping[str, Any]

_CODE = re.compile(r"`([^`]+)`")
_PLACEHOLDER = re.compile(r"{(\w+)}")
_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "matches {}",
}
_CREDENTIALS = {
    "visitor": "a visitor's cookie",
    "key": "an API key with {}",
    "session": "a log-in as {}",
}


class ReferencePage(OpenAPIRenderPlugin):
    """Serves the page at /schema and /schema/swagger, where older versions had Swagger UI."""

    def __init__(self) -> None:
        super().__init__(path="/swagger")
        self._sections: Markup | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: JsonObject) -> bytes:
        """The sections take a tenth of a second, so they are rendered once."""
        if self._sections is None:
            operations = _by_tag(openapi_schema)
            html = render_template(request, "_reference.html", document=openapi_schema, operations=operations)
            self._sections = Markup(html)  # noqa: S704 - rendered by a template
        document = self.get_openapi_json_route(request)
        page = render_template(
            request, "reference.html", document=openapi_schema, sections=self._sections, schema=document
        )
        return page.encode()


class DocumentJson(JsonRenderPlugin):
    """The OpenAPI document with the address of this instance as its server."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: JsonObject) -> bytes:
        server = {"url": public_address(request.scope).link("") or "/"}
        return self.render_json(request, {**openapi_schema, "servers": [server]})


def schema_router() -> Router:
    """The router of the document and its page, with the headers of all pages."""
    return Router(
        "/schema",
        route_handlers=[],
        guards=[open_to_all],
        include_in_schema=False,
        dto=None,
        return_dto=None,
        response_headers={**SECURITY_HEADERS, "Cache-Control": "no-cache"},
    )


def _by_tag(document: JsonObject) -> dict[str, list[tuple[str, str, JsonObject]]]:
    """Method, path and operation, by tag."""
    found: dict[str, list[tuple[str, str, JsonObject]]] = defaultdict(list)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            found[operation["tags"][0]].append((method.upper(), path, operation))
    return found


def _prose(text: str) -> Markup:
    """Paragraphs, with `code`."""
    paragraphs = (_CODE.sub(r"<code>\1</code>", str(escape(each))) for each in text.split("\n\n"))
    return Markup("").join(Markup(f"<p>{each}</p>") for each in paragraphs)  # noqa: S704 - escaped above


def _type(schema: JsonObject) -> Markup:
    """A type as text, with links to the types it is made of."""
    if ref := schema.get("$ref"):
        name = ref.rpartition("/")[2]
        return Markup('<a href="#type-{0}">{0}</a>').format(name)
    if members := schema.get("anyOf"):
        return Markup(" or ").join(map(_type, members))
    if values := schema.get("enum"):
        return Markup(" or ").join(Markup("<code>{}</code>").format(each) for each in values)
    if (item := schema.get("items")) and isinstance(item, Mapping):
        return Markup("list of {}").format(_type(item))
    if (value := schema.get("additionalProperties")) and isinstance(value, Mapping):
        return Markup("map to {}").format(_type(value))
    return escape(schema.get("format") or schema.get("type", "any"))


def _bounds(schema: JsonObject) -> str:
    """Limits and the default, in words; those of a member if it may be null."""
    members = [schema, *schema.get("anyOf", [])]
    limits = [text.format(each[name]) for each in members for name, text in _BOUNDS.items() if name in each]
    if "default" in schema:
        limits.append(f"default {msgspec.json.encode(schema['default']).decode()}")
    return ", ".join(limits)


def _credentials(security: list[JsonObject]) -> str:
    """Who may call an operation."""
    if security == [{}]:
        return "anybody"
    named = [
        _CREDENTIALS[scheme].format(" and ".join(needed) or "any role")
        for requirement in security
        for scheme, needed in requirement.items()
    ]
    return ", or ".join([*named, *(["nothing"] if {} in security else [])])


def _resolve(reference: JsonObject, document: JsonObject) -> JsonObject:
    found: Any = reference
    if ref := reference.get("$ref"):
        found = document
        for name in ref.removeprefix("#/").split("/"):
            found = found[name]
    resolved: JsonObject = found
    return resolved


def _curl(operation: JsonObject, method: str, path: str, document: JsonObject) -> str:
    """A command that calls the operation with the examples of the document. ``$KEY`` is an API key."""
    examples = {each["name"]: each.get("example", "…") for each in operation.get("parameters", [])}
    url = _PLACEHOLDER.sub(lambda found: str(examples[found[1]]), path)
    required = [
        each for each in operation.get("parameters", []) if each["in"] == "query" and each["required"]
    ]
    query = "&".join(f"{each['name']}={examples[each['name']]}" for each in required)
    words = ["curl", *(["-X", method] if method != "GET" else [])]
    words.append(shlex.quote(f"http://127.0.0.1:8000{url}{'?' + query if query else ''}"))
    return " ".join([*words, *_curl_credentials(operation), *_curl_body(operation, document)])


def _curl_credentials(operation: JsonObject) -> list[str]:
    schemes = [scheme for requirement in operation["security"] for scheme in requirement]
    if "key" in schemes:
        return ['-H "Authorization: Bearer $KEY"']
    return ["-b session.txt"] if "session" in schemes else []


def _curl_body(operation: JsonObject, document: JsonObject) -> list[str]:
    if (body := operation.get("requestBody")) is None:
        return []
    media_type, content = next(iter(body["content"].items()))
    schema = _resolve(content["schema"], document)
    example = content.get("example") or msgspec.json.encode(schema.get("examples", [{}])[0]).decode()
    return [f"-H 'Content-Type: {media_type}'", f"--data-binary {shlex.quote(example.strip())}"]


templates.filters |= {
    "prose": _prose,
    "type_of": _type,
    "bounds": _bounds,
    "credentials": _credentials,
    "resolve": _resolve,
    "curl": _curl,
}
