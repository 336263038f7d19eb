"""Bad input: one clear 4xx each, nothing of the inside shown, nothing written, and the next answer is as usual."""

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

Room = Literal["vote", "tool", "take", "bookmark", "login"]
ROOMS: dict[Room, tuple[str, str, dict[str, object]]] = {
    "vote": ("POST", "/v1/votes", VOTE),
    "tool": ("PUT", "/v1/tools/quill", TOOL),
    "take": ("PUT", "/v1/tools/quill/takes/builder", TAKE),
    "bookmark": ("PUT", "/v1/me/bookmarks/quill", NOTE),
    "login": ("POST", "/v1/session", LOGIN),
}
every_room = pytest.mark.parametrize("room", ROOMS)


@pytest.fixture(autouse=True)
async def nothing_written(stage: Stage) -> AsyncIterator[None]:
    """Before and after every case the log is as long, and the app answers."""
    before = await _stored(stage)
    yield
    assert await _stored(stage) == before
    assert (await new_visitor(stage.client).get("/v1/tools?limit=1")).status_code in (200, 503)


async def _stored(stage: Stage) -> tuple[int, int]:
    return await count_events(stage.log), int(await stage.log.fetchval("SELECT count(*) FROM notes"))


def credentials(stage: Stage, room: Room) -> Headers:
    return stage.catalogue_key if room in ("tool", "take") else {}


async def send(
    stage: Stage, room: Room, content: Any, headers: Headers = JSON, path: str | None = None
) -> httpx.Response:
    method, address, _ = ROOMS[room]
    everything = {**credentials(stage, room), **headers}
    visitor = new_visitor(stage.client)
    return await visitor.request(method, path or address, content=content, headers=everything)


async def get(stage: Stage, address: str, **headers: str) -> httpx.Response:
    return await new_visitor(stage.client).get(address, headers=headers)


# What is not JSON, or not one JSON object.

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


@every_room
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_that_is_no_such_object(stage: Stage, room: Room, body: bytes) -> None:
    if room == "bookmark" and body == b"{}":
        pytest.skip("a bookmark needs neither note nor tags")
    assert_problem(await send(stage, room, body), 400)


@pytest.mark.parametrize("room", ["vote", "tool", "take", "login"])
async def test_no_body_at_all(stage: Stage, room: Room) -> None:
    assert_problem(await send(stage, room, b""), 400)


async def test_a_body_nested_100000_deep_is_too_large_already(stage: Stage) -> None:
    for room in ROOMS:
        assert_problem(await send(stage, room, b"[" * 100_000), 413)


async def test_the_deepest_body_a_route_takes(stage: Stage) -> None:
    for room in ("tool", "take", "bookmark"):
        assert_problem(await send(stage, room, b"[" * 65_000), 400)


@every_room
async def test_a_field_twice(stage: Stage, room: Room) -> None:
    whole = json.dumps(ROOMS[room][2])
    name, value = next(iter(ROOMS[room][2].items()))
    twice = f"{whole[:-1]}, {json.dumps(name)}: {json.dumps(value)}}}"
    assert_problem(await send(stage, room, twice), 400)


async def test_a_field_twice_further_in(stage: Stage) -> None:
    body = json.dumps(TOOL).replace('"entry": "Free"', '"entry": "Free", "entry": "Paid"')
    assert_problem(await send(stage, "tool", body), 400)


@every_room
@pytest.mark.parametrize(
    "name", ["shard", "position", "actor", "recorded_at", "revision", "role", "__class__", ""]
)
async def test_fields_that_are_not_the_callers_to_set(stage: Stage, room: Room, name: str) -> None:
    assert_problem(await send(stage, room, json.dumps(ROOMS[room][2] | {name: 1})), 400)


# Media types, encodings and sizes.


@every_room
@pytest.mark.parametrize(
    "content_type",
    [
        None, "", "text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data",
        "application/json;charset=utf-16", "application/jsonp", "application/x-msgpack", "application/json, text/plain",
        "text/json", "*/*",
    ],
)  # fmt: skip
async def test_json_under_another_name(stage: Stage, room: Room, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert_problem(await send(stage, room, json.dumps(ROOMS[room][2]), headers), 415)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_under_its_own_name_in_other_letters(stage: Stage, content_type: str) -> None:
    """Reaches the fields: the refusal is about one of them."""
    answer = await send(stage, "vote", json.dumps(VOTE | {"choice": "sink"}), {"Content-Type": content_type})
    assert_problem(answer, 400)
    assert "choice" in answer.json()["detail"]


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "br", "deflate"])
async def test_bombs_are_not_unpacked(stage: Stage, encoding: str) -> None:
    bomb = gzip.compress(b" " * 4_000_000)
    assert_problem(await send(stage, "vote", bomb, {**JSON, "Content-Encoding": encoding}), 400, 415)


LIMITS: dict[Room, int] = {
    "vote": 16 * 1024, "tool": 64 * 1024, "take": 64 * 1024, "bookmark": 64 * 1024, "login": 4 * 1024,
}  # fmt: skip


@pytest.mark.parametrize("announced", [True, False], ids=["with a length", "without a length"])
@every_room
async def test_a_body_over_the_limit(stage: Stage, room: Room, announced: bool) -> None:
    whole = json.dumps(ROOMS[room][2]).encode().ljust(LIMITS[room] + 1)
    assert_problem(await send(stage, room, whole if announced else _in_pieces(whole)), 413)


async def test_a_password_of_a_megabyte(stage: Stage) -> None:
    assert_problem(await send(stage, "login", json.dumps(LOGIN | {"password": "x" * 1_000_000})), 413)


async def _in_pieces(whole: bytes) -> AsyncIterator[bytes]:
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


UNFIT = {
    "NUL": "\\u0000",
    "NUL within": "a\\u0000b",
    "escape": "\\u001b[2J",
    "delete": "\\u007f",
    "lone high surrogate": "\\ud800",
    "lone low surrogate": "\\udc00",
    "surrogates in the wrong order": "\\udc00\\ud800",
}
TEXTS: dict[str, tuple[Room, str]] = {
    "name": ("tool", '{"name": "%s", "category": "writing"}'),
    "tagline": ("tool", '{"name": "Q", "tagline": "%s", "category": "writing"}'),
    "description": ("tool", '{"name": "Q", "description": "%s", "category": "writing"}'),
    "category": ("tool", '{"name": "Q", "category": {"slug": "writing", "name": "%s"}}'),
    "pricing": ("tool", '{"name": "Q", "category": "writing", "pricing": {"entry": "Free", "detail": "%s"}}'),
    "take": ("take", '{"score": 1, "choice": "ship", "text": "%s"}'),
    "note": ("bookmark", '{"note": "%s"}'),
    "tag": ("bookmark", '{"tags": ["%s"]}'),
}


@pytest.mark.parametrize("unfit", UNFIT.values(), ids=UNFIT)
@pytest.mark.parametrize("text", TEXTS)
async def test_no_text_has_control_characters_or_half_a_character(
    stage: Stage, text: str, unfit: str
) -> None:
    room, body = TEXTS[text]
    assert_problem(await send(stage, room, body % unfit), 400)


@pytest.mark.parametrize("unfit", ["\\u0000", "a\\u0000b", "\\ud800", ""])
async def test_nor_has_a_voters_name(stage: Stage, unfit: str) -> None:
    body = f'{{"tool": "quill", "choice": "ship", "voter": "{unfit}"}}'
    assert_problem(await send(stage, "vote", body, {**JSON, **stage.vote_key}), 400)


@pytest.mark.parametrize("unfit", ["\\u0000", "a\\u0000b", "\\ud800"])
async def test_nobody_is_called_that(stage: Stage, unfit: str) -> None:
    assert_problem(await send(stage, "login", f'{{"name": "{unfit}", "password": "x"}}'), 400, 401)
    assert_problem(await send(stage, "login", f'{{"name": "ada", "password": "{unfit}"}}'), 400, 401)


@pytest.mark.parametrize("name", ["", " ", "\u200b", "\u202e", "\ufeff", "\u2029", "a\nb", "x" * 121])
async def test_a_name_shows_something_on_one_line(stage: Stage, name: str) -> None:
    assert_problem(await send(stage, "tool", json.dumps(TOOL | {"name": name})), 400)


@pytest.mark.parametrize("field", ["tagline", "best_for", "description"])
async def test_texts_have_an_end(stage: Stage, field: str) -> None:
    assert_problem(await send(stage, "tool", json.dumps(TOOL | {field: "x" * 4_001})), 400)


async def test_takes_notes_and_tags_have_an_end(stage: Stage) -> None:
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
async def test_a_link_is_http_and_cannot_leave_its_attribute(stage: Stage, url: str) -> None:
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


NO_IDS = {
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


@pytest.mark.parametrize("id", NO_IDS.values(), ids=NO_IDS)
async def test_an_id_is_a_uuid7_of_about_now(stage: Stage, id: str) -> None:
    assert_problem(await send(stage, "vote", json.dumps(VOTE | {"id": id})), 400)
    in_query = f"/v1/votes/quill?id={quote(id, safe='')}"
    assert_problem(await new_visitor(stage.client).delete(in_query), 400)


# Query parameters.


@pytest.mark.parametrize(
    "limit",
    ["-1", "0", "101", "1000000000", str(2**63), "9" * 5_000, "1e400", "1.5", "ten", "", "0x10", "%00", "٣"],
)
async def test_a_limit_is_1_to_100(stage: Stage, limit: str) -> None:
    assert_problem(await get(stage, f"/v1/tools?limit={limit}"), 400)


@pytest.mark.parametrize("query", ["limit=5&limit=6", "sort=top&sort=top", "limit=5&sort=top&limit=5"])
async def test_a_parameter_twice(stage: Stage, query: str) -> None:
    assert_problem(await get(stage, f"/v1/tools?{query}"), 400)


async def test_ten_thousand_parameters(stage: Stage) -> None:
    assert_problem(await get(stage, "/v1/tools?" + "&".join(f"{n:x}=" for n in range(10_000))), 400)


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
async def test_a_cursor_nobody_was_given(stage: Stage, cursor: str) -> None:
    assert_problem(await get(stage, f"/v1/tools?cursor={cursor}"), 400)


@pytest.mark.parametrize(
    "query", ["sort=best", "sort=", "category=Writing", "category=%00", "min_position=3", "min_position=%00"]
)
async def test_other_parameters_of_the_list(stage: Stage, query: str) -> None:
    assert_problem(await get(stage, f"/v1/tools?{query}"), 400)


MOMENTS = [
    "2026-03-01T00:00:00", "2026-03-01", "1772323200", "0", "-5", "1e10", "10000-01-01T00:00:00Z", "2026-13-01T00:00:00Z",
    "2026-02-30T00:00:00Z", "2026-03-01T25:00:00Z", "yesterday", "", "%00", "NaN", "0001-01-01T00:00:00%2B14:00",
    "9999-12-31T23:59:59-14:00",
]  # fmt: skip


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", ["from", "to"])
async def test_a_moment_is_written_whole_and_with_its_zone(stage: Stage, name: str, moment: str) -> None:
    assert_problem(await get(stage, f"/v1/tools/quill/history?{name}={moment}"), 400)


AS_OF = [
    "/v1/tools/quill?", "/v1/tools/quill/tally?", "/v1/tools/quill/verdict?", "/v1/tallies?tools=quill&", "/v1/tools?",
]  # fmt: skip
NEITHER_TIME_NOR_POSITION = [
    *MOMENTS, "now", "1772323200.5", "-1.5", "1.-5", "1.5,1.6", "1.5,1.5", "1.5,", ",", "1.1;2.2", "01.5", "1.5%00", "1.5%0A",
    "99999.1", "1.9999999999999999999", "2026-03-01T00:00:00+02:00", "2026-03-01T00:00:00.1234567Z", "%D9%A1.5", "1." * 1_000,
    "1.1," * 300 + "2.1", "0.1,1.0", "9999-12-31T23:59:59Z",
]  # fmt: skip


@pytest.mark.parametrize("moment", NEITHER_TIME_NOR_POSITION)
async def test_as_of_is_a_time_that_has_passed_or_a_position(stage: Stage, moment: str) -> None:
    for address in AS_OF:
        assert_problem(await get(stage, f"{address}as_of={moment}"), 400)
    assert_problem(await get(stage, f"/v1/diff?from={moment}&to=0.1"), 400)
    assert_problem(await get(stage, f"/v1/diff?from=0.1&to={moment}"), 400)


@pytest.mark.parametrize("position", ["9999.1", "1.0", "0.0", "1.999999999999999999", "0.1,1.9,2.9,3.9"])
async def test_as_of_a_position_that_is_not_there(stage: Stage, position: str) -> None:
    assert_problem(await get(stage, f"/v1/tools/quill/tally?as_of={position}"), 404)


async def test_as_of_twice(stage: Stage) -> None:
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
async def test_a_cursor_of_no_page_of_this_diff(stage: Stage, cursor: bytes) -> None:
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
async def test_a_position_is_shard_and_number(stage: Stage, position: str) -> None:
    assert_problem(await get(stage, f"/v1/tools/quill/tally?min_position={position}"), 400)


async def test_a_position_of_a_shard_that_is_not_there(stage: Stage) -> None:
    assert_problem(await get(stage, "/v1/tools/quill/tally?min_position=9999.1"), 400, 503)


@pytest.mark.parametrize("if_match", ["latest", "-1", "1.5", '"' + "9" * 20 + '"', "1 2"])
async def test_if_match_is_a_revision(stage: Stage, if_match: str) -> None:
    headers = {**JSON, "If-Match": if_match}
    assert_problem(await send(stage, "tool", json.dumps(TOOL), headers), 400, 412)


# Addresses and methods.


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "CONNECT", "PUT", "DELETE", "GET", "BREW"])
async def test_other_methods_do_nothing(stage: Stage, method: str) -> None:
    answer = await new_visitor(stage.client).request(method, "/v1/votes", json=VOTE)
    assert_problem(answer, 405)


@pytest.mark.parametrize(
    "address",
    ["//v1/tools/pen", "/v1//tools/pen", "/V1/tools/pen", "/v1/Tools/pen", "/v1/tools//pen", "/v1/tools/pen/", "/v1/tools/pen%2f",
     "/v1%2ftools/pen", "/v1/tools/%2e%2e/pen", "/v1/./tools/pen", "/v1/tools/pen;x", "/v1/tools/pen%20"],
)  # fmt: skip
async def test_an_address_spelt_otherwise_is_no_way_round_the_rule(stage: Stage, address: str) -> None:
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
async def test_there_is_nothing_at_other_addresses(stage: Stage, address: str) -> None:
    assert_problem(await get(stage, address), 400, 404)


# Tools that are not to be had.


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


# Who is asking.

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
async def test_a_page_of_another_site_writes_nothing(stage: Stage, headers: Headers) -> None:
    for room in ("vote", "bookmark", "login"):
        assert_problem(await send(stage, room, json.dumps(ROOMS[room][2]), {**JSON, **headers}), 403)
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
async def test_what_is_no_key(stage: Stage, authorization: str) -> None:
    headers = {**JSON, "Authorization": authorization.encode("latin-1").decode("latin-1")}
    answer = await new_visitor(stage.client).post(
        "/v1/votes",
        content=json.dumps(VOTE | {"voter": "a"}),
        headers=[(k, v.encode("latin-1")) for k, v in headers.items()],  # type: ignore[misc]
    )
    assert_problem(answer, 401)


async def test_a_key_in_the_query_string_opens_nothing(stage: Stage) -> None:
    key = stage.catalogue_key["Authorization"].removeprefix("Bearer ")
    for name in ("key", "api_key", "access_token", "authorization"):
        answer = await new_visitor(stage.client).put(f"/v1/tools/pen?{name}={key}", json=TOOL)
        assert_problem(answer, 401)
