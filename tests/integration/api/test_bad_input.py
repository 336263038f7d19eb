"""Bad input: a 4xx that reveals nothing about the implementation, nothing written, and an app that keeps answering."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any, Literal
from urllib.parse import quote
from uuid import UUID

import httpx
import msgspec
import pytest

from eventstore.ids import mint
from services.api.site.assets import STATIC_PATH
from tests.support.stage import (
    TOOL,
    Headers,
    Stage,
    assert_problem,
    count_events,
    new_visitor,
)

VOTE: dict[str, object] = {"tool": "quill", "choice": "ship"}
TAKE: dict[str, object] = {"score": 50, "choice": "ship", "text": "It holds."}
NOTE: dict[str, object] = {"note": "for later", "tags": ["one"]}
LOGIN: dict[str, object] = {"name": "ada", "password": "wrong"}
JSON = {"Content-Type": "application/json"}

Target = Literal["vote", "tool", "take", "bookmark", "login"]
TARGETS: dict[Target, tuple[str, str, dict[str, object]]] = {
    "vote": ("POST", "/v1/votes", VOTE),
    "tool": ("PUT", "/v1/tools/quill", TOOL),
    "take": ("PUT", "/v1/tools/quill/takes/builder", TAKE),
    "bookmark": ("PUT", "/v1/me/bookmarks/quill", NOTE),
    "login": ("POST", "/v1/session", LOGIN),
}
every_target = pytest.mark.parametrize("target", TARGETS)


@pytest.fixture(autouse=True)
async def nothing_written(stage: Stage) -> AsyncIterator[None]:
    """Every case leaves the log as long as it was, and the app answers after it."""
    before = await _stored(stage)
    yield
    assert await _stored(stage) == before
    assert (await new_visitor(stage.client).get("/v1/tools?limit=1")).status_code in (200, 503)


async def _stored(stage: Stage) -> tuple[int, int]:
    return await count_events(stage.log), int(await stage.log.fetchval("SELECT count(*) FROM notes"))


def credentials(stage: Stage, target: Target) -> Headers:
    return stage.catalogue_key if target in ("tool", "take") else {}


async def send(
    stage: Stage, target: Target, content: Any, headers: Headers = JSON, path: str | None = None
) -> httpx.Response:
    method, address, _ = TARGETS[target]
    sent = {**credentials(stage, target), **headers}
    visitor = new_visitor(stage.client)
    return await visitor.request(method, path or address, content=content, headers=sent)


async def get(stage: Stage, address: str, **headers: str) -> httpx.Response:
    return await new_visitor(stage.client).get(address, headers=headers)


# Bodies that are not JSON, or not an object with the fields of the route.

BODIES = {
    "deep array": b"[" * 2_000,
    "deep object": b'{"a":' * 800,
    "deep and closed": b"[" * 1_900 + b"]" * 1_900,
    "deep in an unknown field": b'{"x":' + b"[" * 1_900 + b"]" * 1_900 + b"}",
    "invalid UTF-8": b'{"tool":"quill","choice":"ship\xff"}',
    "overlong UTF-8": b'{"tool":"quill","choice":"ship\xc0\x80"}',
    "BOM": b"\xef\xbb\xbf" + json.dumps(VOTE).encode(),
    "UTF-16": json.dumps(VOTE).encode("utf-16"),
    "UTF-32": json.dumps(VOTE).encode("utf-32"),
    "msgpack": msgspec.msgpack.encode(VOTE),
    "null": b"null",
    "array": b"[]",
    "number": b"5",
    "string": b'"quill"',
    "empty object": b"{}",
    "cut short": b'{"tool":"quill","choi',
    "trailing bytes": json.dumps(VOTE).encode() + b"x",
    "two documents": json.dumps(VOTE).encode() * 2,
    "NaN": b'{"tool":"quill","choice":NaN}',
    "single quotes": b"{'tool':'quill','choice':'ship'}",
    "a form": b"tool=quill&choice=ship",
    "gzip": gzip.compress(json.dumps(VOTE).encode()),
    "many keys": b"{" + b",".join(b'"k%d":0' % n for n in range(400)) + b"}",
    "many keys, the last twice": b"{" + b",".join(b'"k%d":0' % n for n in range(400)) + b',"k399":0}',
    "5,000 digits": b'{"tool":"quill","choice":' + b"9" * 3_900 + b"}",
    "blank": b" \n\t ",
}


@every_target
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_that_is_not_the_expected_object(stage: Stage, target: Target, body: bytes) -> None:
    if target == "bookmark" and body == b"{}":
        pytest.skip("a bookmark needs neither note nor tags")
    assert_problem(await send(stage, target, body), 400)


@pytest.mark.parametrize("target", ["vote", "tool", "take", "login"])
async def test_an_empty_body(stage: Stage, target: Target) -> None:
    assert_problem(await send(stage, target, b""), 400)


async def test_a_body_nested_100000_deep_is_too_large(stage: Stage) -> None:
    for target in TARGETS:
        assert_problem(await send(stage, target, b"[" * 100_000), 413)


async def test_a_body_as_deep_as_its_size_allows(stage: Stage) -> None:
    for target in ("tool", "take", "bookmark"):
        assert_problem(await send(stage, target, b"[" * 65_000), 400)


@every_target
async def test_a_repeated_field(stage: Stage, target: Target) -> None:
    whole = json.dumps(TARGETS[target][2])
    name, value = next(iter(TARGETS[target][2].items()))
    repeated = f"{whole[:-1]}, {json.dumps(name)}: {json.dumps(value)}}}"
    assert_problem(await send(stage, target, repeated), 400)


async def test_a_repeated_field_in_a_nested_object(stage: Stage) -> None:
    body = json.dumps(TOOL).replace('"entry": "Free"', '"entry": "Free", "entry": "Paid"')
    assert_problem(await send(stage, "tool", body), 400)


@every_target
@pytest.mark.parametrize(
    "name", ["shard", "position", "actor", "recorded_at", "revision", "role", "__class__", ""]
)
async def test_fields_that_a_client_cannot_set(stage: Stage, target: Target, name: str) -> None:
    assert_problem(await send(stage, target, json.dumps(TARGETS[target][2] | {name: 1})), 400)


# Media types, encodings and sizes.


@every_target
@pytest.mark.parametrize(
    "content_type",
    [
        None, "", "text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data",
        "application/json;charset=utf-16", "application/jsonp", "application/x-msgpack", "application/json, text/plain",
        "text/json", "*/*",
    ],
)  # fmt: skip
async def test_json_with_another_content_type(stage: Stage, target: Target, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert_problem(await send(stage, target, json.dumps(TARGETS[target][2]), headers), 415)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_with_its_content_type_spelled_differently(stage: Stage, content_type: str) -> None:
    """Is decoded: the error is about a field."""
    answer = await send(stage, "vote", json.dumps(VOTE | {"choice": "sink"}), {"Content-Type": content_type})
    assert_problem(answer, 400)
    assert "choice" in answer.json()["detail"]


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "br", "deflate"])
async def test_compressed_bodies_are_not_decompressed(stage: Stage, encoding: str) -> None:
    bomb = gzip.compress(b" " * 4_000_000)
    assert_problem(await send(stage, "vote", bomb, {**JSON, "Content-Encoding": encoding}), 400, 415)


LIMITS: dict[Target, int] = {
    "vote": 16 * 1024, "tool": 64 * 1024, "take": 64 * 1024, "bookmark": 64 * 1024, "login": 4 * 1024,
}  # fmt: skip


@pytest.mark.parametrize("with_length", [True, False], ids=["with a length", "without a length"])
@every_target
async def test_a_body_over_the_limit(stage: Stage, target: Target, with_length: bool) -> None:
    whole = json.dumps(TARGETS[target][2]).encode().ljust(LIMITS[target] + 1)
    assert_problem(await send(stage, target, whole if with_length else _in_parts(whole)), 413)


async def test_a_password_of_a_megabyte_is_too_large(stage: Stage) -> None:
    assert_problem(await send(stage, "login", json.dumps(LOGIN | {"password": "x" * 1_000_000})), 413)


async def _in_parts(whole: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(whole), 1_000):
        yield whole[start : start + 1_000]


# Values.


@pytest.mark.parametrize(
    "score",
    ['"5"', "-1", "101", "5.5", "1e400", "-1e400", str(2**63), str(2**64), "9" * 5_000, "null", "true", "[5]", "0x5", "05", "NaN"],
)  # fmt: skip
async def test_a_score_is_a_whole_number_up_to_100(stage: Stage, score: str) -> None:
    assert_problem(await send(stage, "take", f'{{"score": {score}, "choice": "ship", "text": ""}}'), 400)


@pytest.mark.parametrize(
    "choice", ['"sink"', '"Ship"', '"ship "', '"ship\\n"', '""', "null", "1", '["ship"]', '"ѕhip"']
)
async def test_a_choice_is_ship_or_skip(stage: Stage, choice: str) -> None:
    assert_problem(await send(stage, "vote", f'{{"tool": "quill", "choice": {choice}}}'), 400)


FORBIDDEN = {
    "NUL": "\\u0000",
    "NUL within": "a\\u0000b",
    "escape": "\\u001b[2J",
    "delete": "\\u007f",
    "next line": "\\u0085",
    "upper control character, unescaped": "\x9b",
    "lone high surrogate": "\\ud800",
    "lone low surrogate": "\\udc00",
    "surrogates in the wrong order": "\\udc00\\ud800",
}
TEXTS: dict[str, tuple[Target, str]] = {
    "name": ("tool", '{"name": "%s", "category": "writing"}'),
    "tagline": ("tool", '{"name": "Q", "tagline": "%s", "category": "writing"}'),
    "description": ("tool", '{"name": "Q", "description": "%s", "category": "writing"}'),
    "category": ("tool", '{"name": "Q", "category": {"slug": "writing", "name": "%s"}}'),
    "pricing": ("tool", '{"name": "Q", "category": "writing", "pricing": {"entry": "Free", "detail": "%s"}}'),
    "take": ("take", '{"score": 1, "choice": "ship", "text": "%s"}'),
    "note": ("bookmark", '{"note": "%s"}'),
    "tag": ("bookmark", '{"tags": ["%s"]}'),
}


@pytest.mark.parametrize("forbidden", FORBIDDEN.values(), ids=FORBIDDEN)
@pytest.mark.parametrize("text", TEXTS)
async def test_control_characters_and_lone_surrogates_in_a_text(
    stage: Stage, text: str, forbidden: str
) -> None:
    target, body = TEXTS[text]
    assert_problem(await send(stage, target, body % forbidden), 400)


@pytest.mark.parametrize("forbidden", ["\\u0000", "a\\u0000b", "\\ud800", ""])
async def test_control_characters_and_lone_surrogates_in_a_voters_name(stage: Stage, forbidden: str) -> None:
    body = f'{{"tool": "quill", "choice": "ship", "voter": "{forbidden}"}}'
    assert_problem(await send(stage, "vote", body, {**JSON, **stage.vote_key}), 400)


@pytest.mark.parametrize("forbidden", ["\\u0000", "a\\u0000b", "\\ud800"])
async def test_control_characters_and_lone_surrogates_in_a_user_name_or_password(
    stage: Stage, forbidden: str
) -> None:
    assert_problem(await send(stage, "login", f'{{"name": "{forbidden}", "password": "x"}}'), 400, 401)
    assert_problem(await send(stage, "login", f'{{"name": "ada", "password": "{forbidden}"}}'), 400, 401)


@pytest.mark.parametrize("name", ["", " ", "\u200b", "\u202e", "\ufeff", "\u2029", "a\nb", "x" * 121])
async def test_a_name_must_be_visible_on_one_line(stage: Stage, name: str) -> None:
    assert_problem(await send(stage, "tool", json.dumps(TOOL | {"name": name})), 400)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "a\x85b"}, "name"),
        ({"description": "\x9bx"}, "description"),
        ({"category": {"slug": "writing", "name": "a\x80"}}, "category.name"),
    ],
)
@pytest.mark.parametrize("escaped", [False, True])
async def test_the_upper_control_characters_are_refused_by_field(
    stage: Stage, change: dict[str, Any], field: str, escaped: bool
) -> None:
    """U+0085 breaks a line, as U+2028 does."""
    answer = await send(stage, "tool", json.dumps(TOOL | change, ensure_ascii=escaped))
    assert_problem(answer, 400)
    assert answer.json()["detail"].startswith(f"{field}: ")


@pytest.mark.parametrize("field", ["tagline", "best_for", "description"])
async def test_a_text_above_its_maximum_length(stage: Stage, field: str) -> None:
    assert_problem(await send(stage, "tool", json.dumps(TOOL | {field: "x" * 4_001})), 400)


async def test_a_take_note_or_list_of_tags_above_its_maximum_length(stage: Stage) -> None:
    assert_problem(await send(stage, "take", json.dumps(TAKE | {"text": "x" * 4_001})), 400)
    assert_problem(await send(stage, "bookmark", json.dumps({"note": "x" * 4_001})), 400)
    assert_problem(await send(stage, "bookmark", json.dumps({"tags": ["t"] * 21})), 400)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "JavaScript:alert(1)", " javascript:alert(1)", "data:text/html,<script>", "//evil.example",
        "/relative", "ftp://host/", "file:///etc/passwd", "http://", "https://a b", 'https://a"onclick=', "https://a\n",
        "https://a<b>", "https:\\\\evil", "vbscript:x", "", "https://" + "a" * 500,
    ],
)  # fmt: skip
async def test_a_link_must_be_http_and_safe_in_an_attribute(stage: Stage, url: str) -> None:
    assert_problem(await send(stage, "tool", json.dumps(TOOL | {"url": url})), 400)


SLUGS = [
    "Quill",
    "quill-",
    "-quill",
    "qu--ill",
    "qu_ill",
    "quíll",
    "ｑuill",
    "qu ill",
    "quill\n",
    "",
    "q" * 101,
    "../quill",
    "quill\0",
]


@pytest.mark.parametrize("slug", SLUGS)
async def test_a_slug_in_a_body(stage: Stage, slug: str) -> None:
    assert_problem(await send(stage, "vote", json.dumps(VOTE | {"tool": slug})), 400)


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if slug])
async def test_a_slug_in_a_path(stage: Stage, slug: str) -> None:
    named = quote(slug, safe="")
    for address in (f"/v1/tools/{named}", f"/v1/tools/{named}/tally", f"/v1/comparisons/quill/{named}"):
        assert_problem(await get(stage, address), 400, 404)
    assert_problem(await send(stage, "bookmark", b"", {}, f"/v1/me/bookmarks/{named}"), 400, 404, 405)
    assert_problem(await send(stage, "tool", json.dumps(TOOL), path=f"/v1/tools/{named}"), 400, 404, 405)


@pytest.mark.parametrize(
    "slugs", ["", ",", "quill,", "Quill", "quill,%00", "a" * 101, ",".join(f"t{n}" for n in range(101))]
)
async def test_slugs_in_a_query(stage: Stage, slugs: str) -> None:
    for address in ("/v1/tallies", "/v1/tallies/stream"):
        assert_problem(await get(stage, f"{address}?tools={slugs}"), 400)


async def test_a_missing_query_parameter_is_named(stage: Stage) -> None:
    answer = await get(stage, "/v1/tallies")
    assert_problem(answer, 400)
    assert "tools" in answer.json()["detail"]


INVALID_IDS = {
    "nil": str(UUID(int=0)),
    "max": str(UUID(int=2**128 - 1)),
    "version 4": "9b2d1d6c-5f0c-4c58-8f6f-0a5b8e0f8a11",
    "far in the future": "7fffffff-ffff-7000-8000-000000000000",
    "braces": f"{{{mint()}}}",
    "a URN": f"urn:uuid:{mint()}",
    "a word": "latest",
    "empty": "",
    "too long": f"{mint()}0",
}


@pytest.mark.parametrize("id", INVALID_IDS.values(), ids=INVALID_IDS)
async def test_an_id_must_be_a_uuid7_that_is_not_in_the_future(stage: Stage, id: str) -> None:
    assert_problem(await send(stage, "vote", json.dumps(VOTE | {"id": id})), 400)
    in_query = f"/v1/votes/quill?id={quote(id, safe='')}"
    assert_problem(await new_visitor(stage.client).delete(in_query), 400)


# Query parameters.


@pytest.mark.parametrize(
    "limit",
    ["-1", "0", "101", "1000000000", str(2**63), "9" * 5_000, "1e400", "1.5", "ten", "", "0x10", "%00", "٣"],
)
async def test_a_limit_must_be_1_to_100(stage: Stage, limit: str) -> None:
    assert_problem(await get(stage, f"/v1/tools?limit={limit}"), 400)


@pytest.mark.parametrize("query", ["limit=5&limit=6", "sort=top&sort=top", "limit=5&sort=top&limit=5"])
async def test_a_repeated_parameter(stage: Stage, query: str) -> None:
    assert_problem(await get(stage, f"/v1/tools?{query}"), 400)


async def test_ten_thousand_parameters(stage: Stage) -> None:
    assert_problem(await get(stage, "/v1/tools?" + "&".join(f"{n:x}=" for n in range(10_000))), 400)


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("/v1/tools/quill/tally?as-of=2020-01-01T00:00:00Z", "Did you mean as_of?"),
        ("/v1/tools/quill/tally?asof=0.1", "Did you mean as_of?"),
        ("/v1/tools?Limit=5", "Did you mean limit?"),
        ("/v1/tools?min-position=1.1", "Did you mean min_position?"),
        ("/v1/tools?utm_source=x", "The parameters are: as_of, category, cursor, limit, min_position, sort."),
        ("/v1/tools/quill/history?form=2020-01-01T00:00:00Z", "Did you mean from?"),
        ("/v1/me/bookmarks?limit=5", "The parameters are: voter."),
        ("/v1/health/drift?limit=5", "This address has no query parameters."),
        ("/v1/tallies/stream?tools=quill&since=1", "The parameters are: tools."),
        ("/v1/verdicts/flips.atom?tools=quill", "Did you mean tool?"),
    ],
)
async def test_an_unknown_parameter_is_named_with_the_nearest_known_one(
    stage: Stage, address: str, advice: str
) -> None:
    answer = await get(stage, address)
    assert_problem(answer, 400)
    assert advice in answer.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        "/v1/tools?limit=null",
        "/v1/verdicts/flips?limit=NULL",
        "/v1/tools?as_of=null",
        "/v1/tools?as_of=",
        "/v1/tools?min_position=null",
        "/v1/tools/quill/history?from=null",
        "/v1/tools/quill/verdict?as_of=",
    ],
)
async def test_null_and_nothing_are_no_values(stage: Stage, query: str) -> None:
    """Taken as not given, they would be answered 200, with something else than was asked for."""
    assert_problem(await get(stage, query), 400)


async def test_a_null_id_of_a_vote_to_retract(stage: Stage) -> None:
    answer = await new_visitor(stage.client).delete("/v1/votes/quill?id=null")
    assert_problem(answer, 400)
    assert answer.json()["detail"] == "id: a UUID, for example 019dd2c0-0000-7000-8000-000000000001."


@pytest.mark.parametrize("route", ["verdict", "verdict/proof"])
@pytest.mark.parametrize("rulebook", ["", "null", "sha256:"])
async def test_a_rulebook_that_is_no_name(stage: Stage, route: str, rulebook: str) -> None:
    assert_problem(await get(stage, f"/v1/tools/quill/{route}?rulebook={rulebook}"), 404)


@pytest.mark.parametrize(("slugs", "status"), [("0.5", 400), ("nobody-has-it", 404)])
async def test_slugs_are_checked_for_a_visitor_without_a_cookie(
    stage: Stage, slugs: str, status: int
) -> None:
    assert_problem(await get(stage, f"/v1/me/votes?tools={slugs}"), status)


async def test_an_unknown_parameter_of_a_write(stage: Stage) -> None:
    answer = await send(stage, "vote", json.dumps(VOTE), path="/v1/votes?dry_run=1")
    assert_problem(answer, 400)
    assert "dry_run" in answer.json()["detail"]


async def test_pages_ignore_unknown_parameters(stage: Stage) -> None:
    assert (await get(stage, "/?utm_source=letter&fbclid=x")).status_code == 200


UNREADABLE = ["%00", "a%00b", "%1b", "%7f", "%0d%0aX:1", "%ff", "%c0%80", "%ed%a0%80", "%e2%82"]


@pytest.mark.parametrize("text", UNREADABLE)
async def test_a_query_or_path_that_is_not_text(stage: Stage, text: str) -> None:
    tool = "/v1/tools/quill"
    for address in (
        f"{tool}/verdict?rulebook={text}", f"{tool}/verdict/proof?rulebook={text}", f"{tool}/tally?{text}=1", f"/?sort={text}",
        f"/v1/tools/{text}", f"/tools/{text}", f"/compare/{text}-vs-quill", f"/{text}", f"/v1/me/bookmarks/{text}",
        f"/schema/{text}",
    ):  # fmt: skip
        assert_problem(await get(stage, address), 400)
    for address in (f"/static/x/{text}", f"{STATIC_PATH}/{text}"):
        assert_problem(await get(stage, address), 404)


async def test_a_slash_cannot_be_encoded_in_a_path_but_in_a_query(stage: Stage) -> None:
    assert_problem(await get(stage, "/v1%2Ftools"), 400)
    assert_problem(await get(stage, "/v1/tools?category=a%2Fb"), 400)
    assert (await get(stage, "/?from=a%2fb")).status_code == 200


@pytest.mark.parametrize(
    "name", ["a" * 300, "a" * 5_000, "site.css/x", "../../app.py", "vendor", "a" * 200 + "/b" * 100]
)
async def test_a_static_file_that_cannot_exist(stage: Stage, name: str) -> None:
    assert_problem(await get(stage, f"{STATIC_PATH}/{name}"), 404)


CURSORS = {
    "a word": "abc",
    "not base64": "!!!",
    "NUL": "%00",
    "not ASCII": "%C3%A9",
    "another shape": base64.urlsafe_b64encode(b'{"a":1}').decode(),
    "texts for numbers": base64.urlsafe_b64encode(b'["top",["a","b"]]').decode(),
    "numbers of any order": base64.urlsafe_b64encode(b"[1,2,3]").decode(),
    "another order": base64.urlsafe_b64encode(b'["new",[5]]').decode(),
    "no such order": base64.urlsafe_b64encode(b'["best",[5]]').decode(),
    "floats": base64.urlsafe_b64encode(b'["top",[1.5,1e400]]').decode(),
    "too long": "A" * 401,
}


@pytest.mark.parametrize("cursor", CURSORS.values(), ids=CURSORS)
async def test_a_cursor_that_the_app_did_not_write(stage: Stage, cursor: str) -> None:
    assert_problem(await get(stage, f"/v1/tools?cursor={cursor}"), 400)


@pytest.mark.parametrize(
    "query", ["sort=best", "sort=", "category=Writing", "category=%00", "min_position=3", "min_position=%00"]
)
async def test_other_invalid_parameters_of_a_list(stage: Stage, query: str) -> None:
    assert_problem(await get(stage, f"/v1/tools?{query}"), 400)


MOMENTS = [
    "2026-03-01T00:00:00", "2026-03-01", "1772323200", "0", "-5", "1e10", "10000-01-01T00:00:00Z", "2026-13-01T00:00:00Z",
    "2026-02-30T00:00:00Z", "2026-03-01T25:00:00Z", "yesterday", "", "%00", "NaN", "0001-01-01T00:00:00%2B14:00",
    "9999-12-31T23:59:59-14:00",
]  # fmt: skip


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", ["from", "to"])
async def test_a_moment_must_be_complete_with_its_time_zone(stage: Stage, name: str, moment: str) -> None:
    assert_problem(await get(stage, f"/v1/tools/quill/history?{name}={moment}"), 400)


AS_OF = [
    "/v1/tools/quill?", "/v1/tools/quill/tally?", "/v1/tools/quill/verdict?", "/v1/tallies?tools=quill&", "/v1/tools?",
]  # fmt: skip
INVALID_AS_OF = [
    *MOMENTS, "now", "1772323200.5", "-1.5", "1.-5", "1.5,1.6", "1.5,1.5", "1.5,", ",", "1.1;2.2", "01.5", "1.5%00", "1.5%0A",
    "99999.1", "1.9999999999999999999", "2026-03-01T00:00:00+02:00", "2026-03-01T00:00:00.1234567Z", "%D9%A1.5", "1." * 1_000,
    "1.1," * 300 + "2.1", "0.1,1.0", "9999-12-31T23:59:59Z",
]  # fmt: skip


@pytest.mark.parametrize("moment", INVALID_AS_OF)
async def test_as_of_must_be_a_past_time_or_a_position(stage: Stage, moment: str) -> None:
    for address in AS_OF:
        assert_problem(await get(stage, f"{address}as_of={moment}"), 400)
    assert_problem(await get(stage, f"/v1/diff?from={moment}&to=0.1"), 400)
    assert_problem(await get(stage, f"/v1/diff?from=0.1&to={moment}"), 400)


@pytest.mark.parametrize("position", ["9999.1", "1.0", "0.0", "1.999999999999999999", "0.1,1.9,2.9,3.9"])
async def test_as_of_a_position_that_does_not_exist(stage: Stage, position: str) -> None:
    assert_problem(await get(stage, f"/v1/tools/quill/tally?as_of={position}"), 404)


async def test_as_of_given_twice(stage: Stage) -> None:
    assert_problem(await get(stage, "/v1/tools/quill/tally?as_of=0.1&as_of=0.2"), 400)


DIFF_CURSORS = [
    b'["0.1","0.1",0,0]',
    b'["S","S",-1,0]',
    b'["S","S",0,-1]',
    b'["S","S",3000000000,0]',
    b"{}",
    b"[1]",
    b'["S","S",1e3,0]',
]


@pytest.mark.parametrize("cursor", DIFF_CURSORS)
async def test_a_cursor_of_another_diff(stage: Stage, cursor: bytes) -> None:
    made = base64.urlsafe_b64encode(cursor.replace(b"S", b"0.1,1.0,2.0,3.0")).decode()
    assert_problem(await get(stage, f"/v1/diff?from=0.1,1.0,2.0,3.0&to=0.1,1.0,2.0,3.0&cursor={made}"), 400)


@pytest.mark.parametrize(
    "position",
    [
        "1",
        "1.",
        "1.-1",
        "-1.1",
        "1.1e9",
        "99999.1",
        "1.9999999999999999999",
        "a.b",
        "1.1,",
        "%00",
        "1.1;2.2",
        "",
    ],
)
async def test_a_position_must_be_shard_and_number(stage: Stage, position: str) -> None:
    assert_problem(await get(stage, f"/v1/tools/quill/tally?min_position={position}"), 400)


@pytest.mark.parametrize("read", ["verdict", "verdict/proof"])
async def test_an_empty_rulebook_is_not_the_one_in_force(stage: Stage, read: str) -> None:
    assert_problem(await get(stage, f"/v1/tools/quill/{read}?rulebook="), 404)


async def test_a_position_of_a_shard_that_does_not_exist(stage: Stage) -> None:
    assert_problem(await get(stage, "/v1/tools/quill/tally?min_position=9999.1"), 400, 503)


@pytest.mark.parametrize("if_match", ["latest", "-1", "1.5", '"' + "9" * 20 + '"', "1 2"])
async def test_if_match_must_be_a_revision(stage: Stage, if_match: str) -> None:
    headers = {**JSON, "If-Match": if_match}
    assert_problem(await send(stage, "tool", json.dumps(TOOL), headers), 400, 412)


# Addresses and methods.


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "CONNECT", "PUT", "DELETE", "GET", "BREW"])
async def test_other_methods_are_not_allowed(stage: Stage, method: str) -> None:
    answer = await new_visitor(stage.client).request(method, "/v1/votes", json=VOTE)
    assert_problem(answer, 405)


@pytest.mark.parametrize(
    "address",
    ["//v1/tools/pen", "/v1//tools/pen", "/V1/tools/pen", "/v1/Tools/pen", "/v1/tools//pen", "/v1/tools/pen/", "/v1/tools/pen%2f",
     "/v1%2ftools/pen", "/v1/tools/%2e%2e/pen", "/v1/./tools/pen", "/v1/tools/pen;x", "/v1/tools/pen%20"],
)  # fmt: skip
async def test_another_spelling_of_an_address_does_not_bypass_its_guard(stage: Stage, address: str) -> None:
    answer = await new_visitor(stage.client).put(address, json=TOOL)
    assert_problem(answer, 400, 401, 404, 405)


@pytest.mark.parametrize(
    "address",
    [
        "/v1/nothing",
        "/v1/tools/quill/nothing",
        "/v1/tools/quill/tally/x",
        "/v1/%00",
        "/.env",
        "/v1/../v1/nothing",
    ],
)
async def test_other_addresses_are_not_found(stage: Stage, address: str) -> None:
    assert_problem(await get(stage, address), 400, 404)


# Missing tools.


async def test_a_missing_tool_on_every_route(stage: Stage) -> None:
    for address in (
        "/v1/tools/pen", "/v1/tools/pen/tally", "/v1/tools/pen/history", "/v1/tools/pen/verdict", "/v1/tallies?tools=pen",
        "/v1/tallies/stream?tools=pen", "/v1/comparisons/pen/quill", "/v1/comparisons/quill/pen", "/v1/tools/pen/takes/builder/history",
    ):  # fmt: skip
        assert_problem(await get(stage, address), 404)
    assert_problem(await send(stage, "vote", json.dumps(VOTE | {"tool": "pen"})), 404)
    assert_problem(await send(stage, "bookmark", b"", {}, "/v1/me/bookmarks/pen"), 404)
    assert_problem(await send(stage, "take", json.dumps(TAKE), path="/v1/tools/pen/takes/builder"), 404)
    assert_problem(await new_visitor(stage.client).delete("/v1/me/bookmarks/pen"), 404)


# Origin and credentials.

FOREIGN: list[Headers] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://shiplog.test.evil.example"},
    {"Origin": "http://shiplog.test:81"},
    {"Origin": "shiplog.test"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"},
    {"Origin": "http://evil.example", "X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
]


@pytest.mark.parametrize(
    "headers", FOREIGN, ids=lambda headers: ", ".join(f"{k}: {v}" for k, v in headers.items())
)
async def test_a_page_of_another_site_cannot_write(stage: Stage, headers: Headers) -> None:
    for target in ("vote", "bookmark", "login"):
        assert_problem(await send(stage, target, json.dumps(TARGETS[target][2]), {**JSON, **headers}), 403)
    for address in ("/v1/votes/quill", "/v1/me/bookmarks/quill", "/v1/session"):
        assert_problem(await new_visitor(stage.client).delete(address, headers=dict(headers)), 403)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer slk_",
        "Bearer slk_\0",
        "Basic YTpi",
        "slk_x",
        "Bearer " + "slk_" + "x" * 8_000,
        "Bearer slk_é",
    ],
)
async def test_an_invalid_authorization_header(stage: Stage, authorization: str) -> None:
    headers = {**JSON, "Authorization": authorization.encode("latin-1").decode("latin-1")}
    answer = await new_visitor(stage.client).post(
        "/v1/votes",
        content=json.dumps(VOTE | {"voter": "a"}),
        headers=[(k, v.encode("latin-1")) for k, v in headers.items()],  # type: ignore[misc]
    )
    assert_problem(answer, 401)


async def test_a_key_in_the_query_string_is_ignored(stage: Stage) -> None:
    key = stage.catalogue_key["Authorization"].removeprefix("Bearer ")
    for name in ("key", "api_key", "access_token", "authorization"):
        answer = await new_visitor(stage.client).put(f"/v1/tools/pen?{name}={key}", json=TOOL)
        assert_problem(answer, 401)
