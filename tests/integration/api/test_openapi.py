"""The OpenAPI document is valid, lists every problem, and every answer to a generated request conforms to it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.api.app import create_app
from services.settings import Settings
from tests.support.stage import Stage, assert_problem, new_visitor

METHODS = {"get", "put", "post", "delete", "patch", "head"}
_app = create_app(Settings(database_url="", secret=b""))
DOCUMENT: dict[str, Any] = _app.openapi_schema.to_schema()
OPERATIONS = [
    pytest.param(path, method, id=f"{method} {path}")
    for path, item in DOCUMENT["paths"].items()
    for method in item
    if method in METHODS
]
# Ends only when the client disconnects: test_tally_stream.py tests it on a real server.
ENDLESS = "/v1/tallies/stream"
TESTED = [each for each in OPERATIONS if each.values[0] != ENDLESS]
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
quick = settings(
    max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def test_the_document_is_valid() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_error_is_documented_as_problem_details(path: str, method: str) -> None:
    operation = DOCUMENT["paths"][path][method]
    problems = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
    if path != "/healthz":
        assert {"400", "503"} <= problems.keys()
    for answer in problems.values():
        assert list(answer["content"]) == ["application/problem+json"]


def test_writes_document_the_errors_of_credentials() -> None:
    for path, item in DOCUMENT["paths"].items():
        for method in item.keys() & {"put", "post", "delete"}:
            if path != "/v1/session":
                assert {"401", "403"} <= item[method]["responses"].keys(), f"{method} {path}"


@pytest.mark.parametrize(("path", "method"), TESTED)
@quick
@given(data=st.data())
async def test_answers_conform_to_the_document(
    stage: Stage, path: str, method: str, data: st.DataObject
) -> None:
    await check_one_answer(stage, path, method, data)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "method"), TESTED)
@settings(quick, max_examples=200, derandomize=False)
@given(data=st.data())
async def test_answers_conform_to_the_document_in_many_examples(
    stage: Stage, path: str, method: str, data: st.DataObject
) -> None:
    await check_one_answer(stage, path, method, data)


async def check_one_answer(stage: Stage, path: str, method: str, data: st.DataObject) -> None:
    """Sends one generated request, which conforms to the document or violates it; the answer must conform."""
    mode = data.draw(st.sampled_from(GenerationMode))
    case = data.draw(SCHEMA[path][method.upper()].as_strategy(mode))
    answer = await _send(stage, case)
    if answer.status_code == 503:  # documented, for example for a position that was not reached
        assert_problem(answer, 503)
    else:
        case.validate_response(answer, checks=CHECKS)


async def _send(stage: Stage, case: schemathesis.Case) -> httpx.Response:
    visitor = new_visitor(stage.client)
    if case.path.startswith("/v1/tools"):
        visitor.headers.update(stage.catalogue_key)
    wire = requests.Request(**case.as_transport_kwargs(base_url="http://shiplog.test")).prepare()
    assert wire.method is not None
    assert wire.url is not None
    assume(len(wire.url) < 60_000)  # httpx rejects longer ones
    return await visitor.request(wire.method, wire.url, headers=dict(wire.headers), content=wire.body)
