"""Headers that every answer has, whatever its kind."""

from __future__ import annotations

import pytest

from tests.support.stage import Stage, new_visitor, vote

PAGES = ("/", "/schema", "/schema/swagger", "/schema/openapi.json", "/schema/nothing")


@pytest.mark.parametrize(
    "path", [*PAGES, "/v1/tools", "/v1/tools/missing", "/metrics", "/healthz", "/readyz", "/nowhere"]
)
async def test_no_answer_is_sniffed_and_a_charset_is_named_once(stage: Stage, path: str) -> None:
    answer = await stage.client.get(path)
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert answer.headers["content-type"].count("charset") <= 1


async def test_a_vote_has_them_too(stage: Stage) -> None:
    visitor = new_visitor(stage.client)
    for answer in (await vote(visitor), await vote(visitor), await vote(visitor, "missing")):
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", PAGES)
async def test_the_api_pages_have_the_policy_of_all_pages(stage: Stage, path: str) -> None:
    policy = (await stage.client.get(path)).headers["content-security-policy"]
    assert policy == (await stage.client.get("/")).headers["content-security-policy"]
    assert "unsafe" not in policy


async def test_options_name_every_method_of_a_path(stage: Stage) -> None:
    allowed = (await stage.client.options("/v1/tools/quill")).headers["allow"]
    assert set(allowed.split(", ")) == {"GET", "OPTIONS", "PUT"}
