"""Every answer to a generated request conforms to the OpenAPI document, whoever asks."""

from __future__ import annotations

from typing import Any, TypeAlias

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
    missing_required_header,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.api.app import create_app
from services.api.openapi.headers import HEADERS
from services.api.openapi.problems import PROBLEM_TYPES
from services.settings import Settings
from tests.support.schemathesis_hooks import amend
from tests.support.stage import Stage, assert_problem, log_in, new_visitor

DOCUMENT: dict[str, Any] = create_app(Settings(database_url="", secret=b"")).openapi_schema.to_schema()
# Ends only when the client disconnects: test_tally_stream.py tests it on a real server.
ENDLESS = "/v1/tallies/stream"
# Last, since the editor stays logged out.
LOG_OUT = ("/v1/session", "delete")
OPERATIONS = [
    pytest.param(path, method, id=f"{method} {path}")
    for path, method in sorted(
        ((path, method) for path, item in DOCUMENT["paths"].items() for method in item), key=LOG_OUT.__eq__
    )
    if path != ENDLESS
]
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
# tests/faults/test_schemathesis.py has the others too, some of which send requests of their own to a real server.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    missing_required_header,
]
OURS = {name.lower() for name in HEADERS} - {"cache-control", "vary"}
Identities: TypeAlias = dict[str, httpx.AsyncClient]


@pytest.fixture(scope="module")
async def identities(stage: Stage) -> Identities:
    """A visitor, a key with all scopes, and an editor who is logged in."""
    visitor, key, editor = (new_visitor(stage.client) for _ in range(3))
    key.headers.update(stage.catalogue_key)
    await log_in(editor, stage.log, "ada", "editor")
    return {"visitor": visitor, "key": key, "session": editor}


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
@settings(
    max_examples=5, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(data=st.data())
async def test_answers_conform_to_the_document(
    identities: Identities, path: str, method: str, data: st.DataObject
) -> None:
    """A generated request conforms to the document or violates it; the answer must conform."""
    client = identities[data.draw(st.sampled_from(sorted(identities)))]
    mode = data.draw(st.sampled_from(GenerationMode))
    case = data.draw(SCHEMA[path][method.upper()].as_strategy(mode))
    amend(case, by_key=client is identities["key"])
    answer = await _send(client, case)
    if answer.status_code >= 400:
        assert_problem(answer, answer.status_code)
        assert _slug(answer) in PROBLEM_TYPES[answer.status_code]
    if answer.status_code != 503:  # documented, for example for a position that was not reached
        case.validate_response(answer, checks=CHECKS)
    if answer.status_code < 400:
        documented = DOCUMENT["paths"][path][method]["responses"][str(answer.status_code)]["headers"]
        assert OURS & answer.headers.keys() <= {name.lower() for name in documented}


async def _send(client: httpx.AsyncClient, case: schemathesis.Case) -> httpx.Response:
    wire = requests.Request(**case.as_transport_kwargs(base_url="http://shiplog.test")).prepare()
    assert wire.method is not None
    assert wire.url is not None
    assume(len(wire.url) < 60_000)  # httpx rejects longer ones
    return await client.request(wire.method, wire.url, headers=dict(wire.headers), content=wire.body)


def _slug(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).removeprefix("urn:shiplog:")
