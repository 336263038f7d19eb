"""Headers of answers: what caches may keep, what pages of other sites may read, and compression."""

from __future__ import annotations

import asyncio
import gzip
from itertools import pairwise

import httpx
import pytest
from backports import zstd
from litestar import Litestar
from litestar.routes import HTTPRoute

from services.api.app import create_app
from services.settings import Settings
from tests.support.stage import Stage, assert_problem, log_in, new_visitor

SAMPLE = {
    "{slug}": "quill", "{tool}": "quill", "{reviewer}": "builder", "{left}": "quill", "{right}": "pen", "{digest}": "lower-bound",
    "{id}": "019dd2c0-0000-7000-8000-000000000001",
}  # fmt: skip
QUERIES = {"/v1/tallies": "?tools=quill", "/v1/diff": "?from=0.1&to=0.1", "/v1/trials/compare": "?ids=1"}
PRIVATE = ("/v1/me/", "/v1/session", "/v1/replays", "/v1/trials", "/v1/webhooks")
STREAM = "/v1/tallies/stream"


def _addresses() -> list[str]:
    app: Litestar = create_app(Settings(database_url="postgres://nowhere/x", secret=b"x" * 32))
    found = []
    for route in app.routes:
        if (
            isinstance(route, HTTPRoute)
            and "GET" in route.route_handler_map
            and route.path_format.startswith("/v1/")
        ):
            address = route.path_format
            for parameter, value in SAMPLE.items():
                address = address.replace(parameter, value)
            found.append(address + QUERIES.get(address, ""))
    return [address for address in found if address != STREAM]


ADDRESSES = _addresses()
PUBLIC = [address for address in ADDRESSES if not address.startswith(PRIVATE)]
PERSONAL = [address for address in ADDRESSES if address.startswith(PRIVATE)]


@pytest.mark.parametrize("address", PUBLIC)
async def test_an_anonymous_read_is_revalidated_and_open_to_other_sites(stage: Stage, address: str) -> None:
    answer = await new_visitor(stage.client).get(address)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "Shiplog-Position" in answer.headers["access-control-expose-headers"]
    assert "set-cookie" not in answer.headers
    if answer.status_code != 200:
        assert answer.headers["cache-control"] == "no-store"
        return
    assert answer.headers["cache-control"] == "no-cache"
    known = {"If-None-Match": answer.headers["etag"]}
    again = await new_visitor(stage.client).get(address, headers=known)
    if again.status_code == 304:
        assert again.headers["cache-control"] == answer.headers["cache-control"]
        assert again.headers["access-control-allow-origin"] == "*"
        assert again.headers["etag"] == answer.headers["etag"]


@pytest.mark.parametrize(
    "address",
    ["/v1/tools/quill/tally", "/v1/tools/quill", "/v1/tools", "/v1/tallies?tools=quill", "/v1/tools/quill/verdict",
     "/v1/verdicts/flips.atom", "/v1/verdicts/flips.json", "/v1/tools/quill/history", "/v1/rulebooks", "/v1/diff?from=0.1&to=0.1"],
)  # fmt: skip
async def test_live_reads_are_not_kept_without_asking_again(stage: Stage, address: str) -> None:
    answer = await new_visitor(stage.client).get(address)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["etag"]
    head = await new_visitor(stage.client).head(address)
    assert head.content == b""
    ours = {
        "content-type",
        "cache-control",
        "access-control-allow-origin",
        "etag",
        "vary",
        "x-content-type-options",
    }
    assert {name: head.headers.get(name) for name in ours} == {
        name: answer.headers.get(name) for name in ours
    }


async def test_private_reads_are_neither_kept_nor_open_to_other_sites(stage: Stage) -> None:
    editor = new_visitor(stage.client)
    await log_in(editor, stage.log, "ada", "editor")
    for client in (editor, new_visitor(stage.client)):
        for address in PERSONAL:
            answer = await client.get(address, headers={"Origin": "https://other.example"})
            assert "no-store" in answer.headers["cache-control"], address
            assert "access-control-allow-origin" not in answer.headers, address
            assert "content-encoding" not in answer.headers, address


async def test_a_head_of_a_stream_ends(stage: Stage) -> None:
    async with asyncio.timeout(20):
        head = await new_visitor(stage.client).head(f"{STREAM}?tools=quill")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")


async def test_errors_without_a_route_are_open_to_other_sites_too(stage: Stage) -> None:
    for address in ("/v1/nothing", "/v1/tools/%00", "/v1/tools/quill/tally?as-of=x"):
        answer = await new_visitor(stage.client).get(address)
        assert_problem(answer, 400, 404)
        assert answer.headers["access-control-allow-origin"] == "*"


async def test_writes_and_pages_are_not_open_to_other_sites(stage: Stage) -> None:
    visitor = new_visitor(stage.client)
    vote = await visitor.post("/v1/votes", json={"tool": "nothing", "choice": "ship"})
    for answer in (
        vote,
        await visitor.get("/"),
        await visitor.get("/healthz"),
        await visitor.get("/nothing"),
    ):
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["x-content-type-options"] == "nosniff"


async def _preflight(stage: Stage, address: str, headers: str = "if-none-match") -> httpx.Response:
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": headers}
    visitor = new_visitor(stage.client)
    return await visitor.options(address, headers={"Origin": "https://other.example", **asked})


async def test_a_preflight_of_an_anonymous_read(stage: Stage) -> None:
    for address in ("/v1/tools?sort=top", "/v1/tools/quill/tally", STREAM):
        answer = await _preflight(stage, address, "last-event-id")
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-methods"] == "GET, HEAD"
        allowed = answer.headers["access-control-allow-headers"].lower()
        assert "last-event-id" in allowed
        assert "authorization" not in allowed


@pytest.mark.parametrize("address", ["/v1/me/votes", "/v1/session", "/v1/webhooks", "/v1/votes", "/editor"])
async def test_a_preflight_of_anything_else_allows_nothing(stage: Stage, address: str) -> None:
    answer = await _preflight(stage, address)
    assert not [name for name in answer.headers if name.startswith("access-control-")]


# Compression.


async def _get(stage: Stage, address: str, accepted: str, **headers: str) -> httpx.Response:
    async with new_visitor(stage.client) as visitor:
        request = visitor.build_request("GET", address, headers={"Accept-Encoding": accepted, **headers})
        answer = await visitor.send(request, stream=True)
        answer.extensions["raw"] = b"".join([part async for part in answer.aiter_raw()])
        return answer


async def test_a_page_is_compressed_as_the_client_accepts(stage: Stage) -> None:
    plain, zipped, packed = [await _get(stage, "/", accepted) for accepted in ("identity", "gzip", "zstd")]
    assert gzip.decompress(zipped.extensions["raw"]) == plain.extensions["raw"]
    assert zstd.decompress(packed.extensions["raw"]) == plain.extensions["raw"]
    assert "content-encoding" not in plain.headers
    assert len({answer.headers["etag"] for answer in (plain, zipped, packed)}) == 3
    for answer in (plain, zipped, packed):
        assert int(answer.headers["content-length"]) == len(answer.extensions["raw"])
        assert "Accept-Encoding" in answer.headers["vary"]
    assert len(zipped.extensions["raw"]) < len(plain.extensions["raw"]) / 2


async def test_a_compressed_answer_is_304_under_its_own_tag_only(stage: Stage) -> None:
    tags = [(await _get(stage, "/", accepted)).headers["etag"] for accepted in ("identity", "gzip", "zstd")]
    for first, second in pairwise([*tags, tags[0]]):
        assert (await _get(stage, "/", "zstd", **{"If-None-Match": first})).status_code == (
            304 if first == tags[2] else 200
        )
        assert (await _get(stage, "/", "zstd", **{"If-None-Match": f"{first}, W/{second}"})).status_code == (
            304 if tags[2] in (first, second) else 200
        )


async def test_head_announces_the_compressed_length(stage: Stage) -> None:
    zipped = await _get(stage, "/", "gzip")
    head = await new_visitor(stage.client).head("/", headers={"Accept-Encoding": "gzip"})
    assert head.headers["content-length"] == zipped.headers["content-length"]
    assert head.headers["content-encoding"] == "gzip"
    assert head.content == b""


async def test_a_short_answer_is_not_compressed_unless_identity_is_excluded(stage: Stage) -> None:
    assert "content-encoding" not in (await _get(stage, "/healthz", "gzip")).headers
    forced = await _get(stage, "/v1/tools/quill/tally", "gzip, identity;q=0")
    assert forced.headers["content-encoding"] == "gzip"
    none = await new_visitor(stage.client).get("/", headers={"Accept-Encoding": "identity;q=0"})
    assert_problem(none, 406)
    assert none.headers["vary"] == "Accept-Encoding"


async def test_static_files_are_compressed(stage: Stage) -> None:
    page = (await new_visitor(stage.client).get("/")).text
    address = next(part for part in page.split('"') if part.endswith("/site.css"))
    answer = await _get(stage, address, "gzip, br")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert b"{" in gzip.decompress(answer.extensions["raw"])


async def test_the_tag_of_a_compressed_card_works_as_if_match(stage: Stage) -> None:
    card = await _get(stage, "/v1/tools/quill", "gzip, identity;q=0")
    assert card.headers["content-encoding"] == "gzip"
    body = {"name": "Quill", "category": "writing"}
    headers = {**stage.catalogue_key, "If-Match": card.headers["etag"]}
    revised = await new_visitor(stage.client).put("/v1/tools/quill", json=body, headers=headers)
    assert revised.status_code == 200, revised.text


# Malformed headers.

HEADERS = [
    "Cookie", "Authorization", "If-None-Match", "If-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Accept",
    "Accept-Encoding", "Accept-Language", "Accept-Charset", "Content-Type", "Content-Encoding", "Range", "Last-Event-ID",
    "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Forwarded-Port", "X-Real-IP", "Forwarded",
    "Origin", "Referer", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Idempotency-Key", "Traceparent", "User-Agent", "Cache-Control", "Prefer",
    "Access-Control-Request-Method", "Access-Control-Request-Headers", "X-HTTP-Method-Override", "Expect", "Via", "Date",
]  # fmt: skip
VALUES = [
    b"", b" ", b"\x80\xff", b"caf\xc3\xa9", b"\xc0\x80", b"x" * 8_000, b",,,;;;==", b'"', b"*", b"%00%ff", b"-1", b"9" * 400,
    b"bytes=9-1,-0", b"a=b; a=c; =; ;", b"[::1", b"foo:bar", b"http://[", b"Bearer", b"Bearer slk_\xff", b"shiplog_visitor=\xff.x",
    b"shiplog_session=\xed\xa0\x80", b"text/html;q=x", b"*/*;q=1e400", b"gzip;q=nan", b"application/json;charset=\xff", b"null",
]  # fmt: skip
VOTE = b'{"tool":"quill","choice":"sink"}'


REQUESTS: list[tuple[str, str, bytes | None]] = [
    ("GET", "/v1/me/votes", None),
    ("POST", "/v1/votes", VOTE),
    ("GET", "/v1/tools/quill", None),
    ("GET", "/", None),
    ("GET", "/v1/verdicts/flips.atom", None),
    ("PUT", "/v1/tools/quill", VOTE),
    ("DELETE", "/v1/session", None),
]


@pytest.mark.parametrize("name", HEADERS)
async def test_no_value_of_a_header_is_an_error_of_the_server(stage: Stage, name: str) -> None:
    async with new_visitor(stage.client) as visitor:
        for value in VALUES:
            await check_header(visitor, [(name.encode(), value)], REQUESTS[:2])
        await check_header(visitor, [(name.encode(), VALUES[2])] * 2, REQUESTS)


@pytest.mark.parametrize(
    "name", ["Content-Type", "Content-Encoding", "Content-Length", "Transfer-Encoding", "Expect"]
)
async def test_no_value_of_a_header_of_a_bulk_request_is_an_error_of_the_server(
    stage: Stage, name: str
) -> None:
    async with new_visitor(stage.client) as visitor:
        visitor.headers.update(stage.vote_key)
        for value in VALUES:
            sent = [(name.encode(), value)]
            if name != "Content-Type":
                sent.append((b"Content-Type", b"application/x-ndjson"))
            answer = await visitor.post("/v1/votes/bulk", headers=sent, content=b"nonsense")
            assert answer.status_code < 500, (value, answer.text)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADERS)
async def test_no_value_of_a_header_is_an_error_on_any_route(stage: Stage, name: str) -> None:
    async with new_visitor(stage.client) as visitor:
        for value in VALUES:
            for times in (1, 2):
                await check_header(visitor, [(name.encode(), value)] * times, REQUESTS)


async def check_header(
    visitor: httpx.AsyncClient, sent: list[tuple[bytes, bytes]], requests: list[tuple[str, str, bytes | None]]
) -> None:
    if sent[0][0] != b"Content-Type":
        sent = [*sent, (b"Content-Type", b"application/json")]
    for method, address, content in requests:
        answer = await visitor.request(method, address, headers=sent, content=content)
        assert answer.status_code < 500, (method, address, sent, answer.text)
        if answer.headers.get("content-type") == "application/problem+json":
            assert_problem(answer, answer.status_code)
