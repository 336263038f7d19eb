"""The OpenAPI document is valid and whole, and a new route is whole without declaring it."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import duckdb
import msgspec
import pytest
from litestar import Litestar, Response, get, put
from litestar.params import JSONBody
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from domain.shared.errors import Rejected
from domain.shared.types import Slug
from services.api.app import create_app
from services.api.http.auth import for_scope, open_to_all
from services.api.http.consistency import MinPosition
from services.api.http.json_body import StrictJSON
from services.api.http.pagination import SlugInPath
from services.api.http.problems import problem_of
from services.api.openapi.document import DocumentConfig, RouteCollector
from services.api.openapi.headers import HEADERS
from services.api.openapi.problems import PROBLEM_TYPES
from services.auth.identity import Role, Scope
from services.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT: dict[str, Any] = create_app(Settings(database_url="", secret=b"")).openapi_schema.to_schema()
METHODS = {"get", "put", "post", "delete", "patch"}
# Without a body that is JSON, or with one that the framework never decodes: everything else has a schema.
OPERATIONS = [
    pytest.param(operation, id=f"{method} {path}")
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]
REGISTRY = Registry().with_resource("urn:document", Resource(DOCUMENT, DRAFT202012))


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of the document."""
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(child)


def test_the_document_is_valid() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []
    assert DOCUMENT["openapi"].startswith("3.1")


def test_exceptions_of_schemathesis_name_operations() -> None:
    config = tomllib.loads((ROOT / "tests/faults/schemathesis.toml").read_text())
    named = {name for each in config["operations"] for name in each["include-operation-id"]}
    assert named <= {
        operation["operationId"] for item in DOCUMENT["paths"].values() for operation in item.values()
    }


def test_a_schema_has_one_short_name() -> None:
    """msgspec gives two types of one name their modules' names too, and generic types brackets."""
    assert [
        name for name in DOCUMENT["components"]["schemas"] if not re.fullmatch(r"[A-Z][A-Za-z]+", name)
    ] == []


def test_every_schema_accepts_something() -> None:
    """A union in which each member accepts all texts is never valid as a `oneOf`."""
    assert [node for node in nodes(DOCUMENT["components"]["schemas"]) if "oneOf" in node] == []
    assert [node for node in nodes(DOCUMENT["paths"]) if node.get("schema") == {}] == []


def test_patterns_are_read_by_re2_and_javascript() -> None:
    patterns = sorted({node["pattern"] for node in nodes(DOCUMENT) if isinstance(node.get("pattern"), str)})
    assert len(patterns) > 4
    for pattern in patterns:
        assert pattern.endswith("$")
        assert not re.search(r"\(\?[!<=]|\\[uZzA]|\\[\"']", pattern)
        duckdb.execute("SELECT regexp_matches('a', $1)", [pattern])  # DuckDB has RE2
    slug = next(each for each in patterns if each.startswith("^[a-z0-9]+(-"))
    assert duckdb.execute("SELECT regexp_matches('quill' || chr(10), $1)", [slug]).fetchone() == (False,)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_is_whole(operation: dict[str, Any]) -> None:
    described = {tag["name"]: tag["description"] for tag in DOCUMENT["tags"]}
    assert [described[tag] for tag in operation["tags"]] != [""]
    assert operation["summary"]
    assert operation["description"]
    assert {"400", "500", "503"} <= operation["responses"].keys()
    for status, response in operation["responses"].items():
        if int(status) >= 400:
            assert response["$ref"].startswith("#/components/responses/")
        else:
            assert response["headers"].keys() <= HEADERS.keys()
            assert "Cache-Control" in response["headers"]
    for parameter in operation.get("parameters", []):
        assert parameter["description"]
        assert "oneOf" not in parameter["schema"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_names_its_credentials(operation: dict[str, Any]) -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    needed = {"key": set(get_args(Scope)), "session": set(get_args(Role)), "visitor": set[str]()}
    assert operation["security"]
    for requirement in operation["security"]:
        for scheme, words in requirement.items():
            assert scheme in schemes
            assert set(words) <= needed[scheme]
    if {} not in operation["security"]:
        assert {"401"} <= operation["responses"].keys()


def test_reads_say_what_they_show_and_can_be_asked_again() -> None:
    shown = {"Shiplog-Position", "Shiplog-Lag-Ms", "ETag"}
    for path in ("/v1/tools", "/v1/verdicts/flips.atom", "/v1/diff", "/v1/tools/{slug}/tally"):
        responses = DOCUMENT["paths"][path]["get"]["responses"]
        assert shown <= responses["200"]["headers"].keys()
        assert "content" not in responses["304"]


def test_bodies_that_routes_decode_themselves_are_documented() -> None:
    bulk = DOCUMENT["paths"]["/v1/votes/bulk"]["post"]
    assert list(bulk["requestBody"]["content"]) == ["application/x-ndjson"]
    assert {each["name"] for each in bulk["parameters"]} == {"Content-Encoding"}
    bookmark = DOCUMENT["paths"]["/v1/me/bookmarks/{tool}"]["put"]["requestBody"]
    assert bookmark == {
        "required": False,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Note"}}},
    }
    rulebook = DOCUMENT["paths"]["/v1/rulebooks"]["post"]["requestBody"]
    assert list(rulebook["content"]) == ["application/json", "application/toml"]


def test_times_have_a_format_and_answers_have_all_their_fields() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["Bucket"]["properties"]["start"] == {"type": "string", "format": "date-time"}
    assert schemas["AdoptionStateResponse"]["properties"]["scheduled"]["additionalProperties"]["format"]
    assert schemas["OwnVoteItems"]["required"] == ["items", "next"]
    assert schemas["Rulebook"]["required"] == ["name"]


def test_examples_are_valid() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        for example in schema.get("examples", []):
            check(schema, example)
    for node in nodes(DOCUMENT["paths"]):
        if "schema" in node and "example" in node:
            check(node["schema"], node["example"])


def check(schema: dict[str, Any], example: object) -> None:
    rebased = msgspec.json.decode(
        msgspec.json.encode(schema).replace(b'"#/components', b'"urn:document#/components')
    )
    OAS31Validator(rebased, registry=REGISTRY).validate(example)


def test_every_type_of_problem_is_documented() -> None:
    """Those of commands that were rejected, and those that routes and layers raise themselves."""
    documented = {(status, slug) for status, slugs in PROBLEM_TYPES.items() for slug in slugs}
    assert {status_of(each) for each in descendants(Rejected)} <= documented
    assert set(raised()) <= documented
    # A method that a path does not have is no operation.
    assert {slug for _, slug in documented} == mentioned() - {"method-not-allowed"}


def status_of(rejected: type[Rejected]) -> tuple[int, str]:
    problem = problem_of(rejected.__new__(rejected))
    return problem.status, rejected.slug


def descendants(parent: type[Rejected]) -> Iterator[type[Rejected]]:
    for child in parent.__subclasses__():
        # The worker of trials stores its errors; no answer is made of them.
        if not child.__module__.startswith(("tests.", "projections.trials.worker")):
            yield child
        yield from descendants(child)


def raised() -> Iterator[tuple[int, str]]:
    for path in (ROOT / "services").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "HttpRejected":
                status, slug = node.args[0], node.args[1]
                if isinstance(status, ast.Constant) and isinstance(slug, ast.Constant):
                    yield int(str(status.value)), str(slug.value)


def mentioned() -> set[str]:
    """The types that docs/http-api.md lists."""
    text = (ROOT / "docs/http-api.md").read_text(encoding="utf-8")
    table = text.partition("| status |")[2].partition("\n\n")[0]
    return set(re.findall(r"`([a-z-]+)`", table))


class Plank(msgspec.Struct):
    slug: Slug


@get("/v1/planks", guards=[open_to_all])
async def list_planks(min_position: MinPosition = None) -> Response[list[Plank]]:
    """All planks."""
    raise NotImplementedError


@put("/v1/planks/{plank:str}", guards=[for_scope("catalogue:write")], dto=StrictJSON[Plank], return_dto=None)
async def put_plank(plank: SlugInPath, data: JSONBody[Plank]) -> Response[Plank]:
    """Lay a plank."""
    raise NotImplementedError


def test_a_new_route_is_whole_without_declaring_it() -> None:
    collector = RouteCollector()
    config = DocumentConfig(title="Ship", version="1", collector=collector, use_handler_docstrings=True)
    app = Litestar([list_planks, put_plank], plugins=[collector], openapi_config=config)
    listed, laid = (
        app.openapi_schema.to_schema()["paths"][path][method]
        for path, method in (("/v1/planks", "get"), ("/v1/planks/{plank}", "put"))
    )
    assert listed["tags"] == ["Test openapi document"]
    assert listed["security"] == [{}]
    assert list(listed["responses"]) == ["200", "304", "400", "401", "406", "431", "500", "503"]
    assert {"Shiplog-Position", "ETag"} <= listed["responses"]["200"]["headers"].keys()
    assert laid["security"] == [{"key": ["catalogue:write"]}, {"session": ["editor"]}]
    assert {"401", "403", "408", "413", "415"} <= laid["responses"].keys()
