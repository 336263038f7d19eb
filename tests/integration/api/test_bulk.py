"""Bulk votes: valid lines are stored, the others are listed, and sending all of them again changes nothing."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient
from uuid_utils.compat import uuid7

from services.ingest import yielding
from services.ingest.decompression import zstd
from tests.support.stage import Stage, list_tool

NDJSON = {"Content-Type": "application/x-ndjson"}


def line(number: int, choice: str = "ship", **more: object) -> str:
    return json.dumps({"tool": "quill", "choice": choice, "voter": f"v{number}", "id": str(uuid7()), **more})


async def send(stage: Stage, body: bytes | str, headers: Mapping[str, str] = NDJSON) -> httpx.Response:
    return await stage.client.post("/v1/votes/bulk", content=body, headers={**stage.vote_key, **headers})


async def test_a_file_that_is_sent_several_times_is_stored_once(stage: Stage) -> None:
    body = "\n".join(line(voter) for voter in range(500))
    head = await stage.log.fetchval("SELECT sum(position) FROM heads")
    for content, headers in (
        (body.encode(), NDJSON),
        (gzip.compress(body.encode()), {**NDJSON, "Content-Encoding": "gzip"}),
        (zstd.compress(body.encode()), {**NDJSON, "Content-Encoding": "zstd"}),
    ):
        answer = await send(stage, content, headers)
        assert answer.json() == {
            "received": 500, "counted": 500, "unchanged": 0, "superseded": 0, "rejected_total": 0, "rejected": [],
        }  # fmt: skip
    assert await stage.log.fetchval("SELECT sum(position) FROM heads") == head + 500


async def test_lines_of_one_ballot_are_decided_in_their_order(stage: Stage) -> None:
    first, second, third = line(9001), line(9001, "skip"), line(9001)
    answer = (await send(stage, "\n".join([first, third, second, first]))).json()
    assert (answer["counted"], answer["unchanged"], answer["superseded"]) == (1, 1, 2)


async def test_one_id_with_another_body_is_a_rejected_line(stage: Stage) -> None:
    """Within one request, and across two; with another choice, tool or voter. A true resend is counted again."""
    await list_tool(stage.client, stage.catalogue_key, "other")
    ids = [str(uuid7()) for _ in range(3)]
    lines = [line(8801, id=ids[0]), line(8802, id=ids[1]), line(8803, id=ids[2])]
    again = [
        line(8801, "skip", id=ids[0]),
        line(8802, tool="other", id=ids[1]),
        line(8804, id=ids[2]),
        lines[0],
    ]
    head = await stage.log.fetchval("SELECT sum(position) FROM heads")
    together = (await send(stage, "\n".join([*lines, *again]))).json()
    apart = (await send(stage, "\n".join(again))).json()
    for answer, first in ((together, 4), (apart, 1)):
        assert [(bad["line"], bad["type"]) for bad in answer["rejected"]] == [
            (first + n, "urn:shiplog:id-conflict") for n in range(3)
        ]
        assert answer["rejected_total"] == 3
    assert (together["counted"], apart["counted"]) == (4, 1)
    assert await stage.log.fetchval("SELECT sum(position) FROM heads") == head + 3


async def test_bad_lines_are_listed_and_the_others_stored(stage: Stage) -> None:
    bad = {
        2: '{"tool":"nothing-like-it","choice":"ship","voter":"a"}',
        4: "{broken",
        5: '{"tool":"quill","choice":"ship","choice":"ship","voter":"a"}',
        6: line(1, "perhaps"),
        7: line(1, shard=3),
        8: '{"tool":"quill","choice":"ship"}',
        9: line(1, voter="é" * 65),
        10: line(1, id="00000000-0000-0000-0000-000000000000"),
        11: '{"tool":"quill","choice":"ship","voter":"' + "x" * 5_000 + '"}',
        12: "[]",
        13: "null",
        14: '{"tool":"quill","choice":"ship","voter":"a\\u0000"}',
    }
    lines = [bad.get(number) or ("" if number in bad else line(8000 + number)) for number in range(1, 17)]
    answer = (await send(stage, "\n".join(lines))).json()
    assert answer["received"] == 16
    assert answer["counted"] == 16 - len(bad)
    assert answer["rejected_total"] == len(bad)
    assert [each["line"] for each in answer["rejected"]] == sorted(bad)
    assert all(each["type"].startswith("urn:shiplog:") and each["detail"] for each in answer["rejected"])


async def test_all_bad_lines_are_counted_and_the_first_hundred_listed(stage: Stage) -> None:
    answer = (await send(stage, "nonsense\n" * 150)).json()
    assert (answer["rejected_total"], len(answer["rejected"])) == (150, 100)


async def test_blank_lines_and_a_byte_order_mark_are_skipped_and_blank_lines_are_numbered(
    stage: Stage,
) -> None:
    body = (
        b"\xef\xbb\xbf" + "\n".join([line(7001), "", " \t\r", line(7002) + "\r", "nonsense", "", ""]).encode()
    )
    answer = (await send(stage, body)).json()
    assert (answer["received"], answer["counted"], answer["rejected_total"]) == (3, 2, 1)
    assert answer["rejected"][0]["line"] == 5
    assert (await send(stage, b"\xef\xbb\xbf\n\n")).json()["received"] == 0


async def test_a_byte_order_mark_in_the_middle_is_not_skipped(stage: Stage) -> None:
    answer = (await send(stage, line(7003).encode() + b"\n\xef\xbb\xbf" + line(7004).encode())).json()
    assert (answer["counted"], answer["rejected_total"]) == (1, 1)


async def test_too_many_bad_lines_end_the_request_and_the_good_ones_before_are_stored(stage: Stage) -> None:
    before = await stage.log.fetchval("SELECT sum(position) FROM heads")
    good = [line(6000 + voter) for voter in range(3)]
    answer = await send(stage, "\n".join([*good, *["x"] * 20_000, line(6900)]))
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (400, "urn:shiplog:too-many-bad-lines")
    assert "3 good lines were stored" in problem["detail"]
    assert "10,237 of the 10,240 lines read so far are bad" in problem["detail"]
    assert "line 4:" in problem["detail"]
    assert await stage.log.fetchval("SELECT sum(position) FROM heads") == before + 3
    assert (await send(stage, "x\n" * 10_000)).json()["rejected_total"] == 10_000


async def test_bad_lines_alone_store_nothing_and_the_answer_says_so(stage: Stage) -> None:
    assert "Nothing was stored" in (await send(stage, "x\n" * 20_000)).json()["detail"]


@pytest.mark.parametrize("cut", [1, 8, 30])
async def test_the_answer_to_a_truncated_body_says_what_was_stored(stage: Stage, cut: int) -> None:
    before = await stage.log.fetchval("SELECT sum(position) FROM heads")
    body = gzip.compress("".join(line(5000 + cut * 10 + n) + "\n" for n in range(10)).encode())
    answer = await send(stage, body[:-cut], {**NDJSON, "Content-Encoding": "gzip"})
    stored = await stage.log.fetchval("SELECT sum(position) FROM heads") - before
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:shiplog:damaged")
    assert stored > 0
    assert f" {stored} good lines were stored." in answer.json()["detail"]
    nothing = await send(stage, body[:20], {**NDJSON, "Content-Encoding": "gzip"})
    assert "Nothing was stored" in nothing.json()["detail"]


async def turns_during(stage: Stage, body: bytes, headers: Mapping[str, str]) -> int:
    """How often the event loop ran something else while the body was processed."""
    turns, sending = 0, asyncio.ensure_future(send(stage, body, headers))
    while not sending.done():
        await asyncio.sleep(0)
        turns += 1
    await sending
    return turns


# Each with the least number of steps: pieces of PIECE_BYTES_MAX, or 10,000 bad lines in steps of 256.
BOMBS = {
    "many line breaks": (b"\n" * 63 * 1024 * 1024, 504),
    "blank lines": (b" \n" * 4_000_000, 61),
    "short bad lines": (b"x\n" * 4_000_000, 39),
    "nested": ((b"[" * 4000 + b"\n") * 2_000, 61),
}


@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_yields_to_other_requests_after_every_step(
    stage: Stage, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps are bounded in bytes and lines, so no step is long. In production, several short ones may pass at once."""
    monkeypatch.setattr(yielding, "YIELD_AFTER_SECONDS", -1.0)
    bomb, steps = BOMBS[name]
    packed = gzip.compress(bomb, 1)
    assert await turns_during(stage, packed, {**NDJSON, "Content-Encoding": "gzip"}) >= steps


async def test_the_request_ends_when_its_sender_leaves(stage: Stage) -> None:
    """The first message is the whole body, the second says that the sender has left."""
    bomb = gzip.compress(b" \n" * 30_000_000, 1)
    started = time.process_time()
    status, _ = await send_messages(stage, [(bomb, False)], {"Content-Encoding": "gzip"})
    assert time.process_time() - started < 0.5
    assert status == 400


async def test_a_body_that_breaks_off_is_answered_with_what_was_stored(stage: Stage) -> None:
    before = await stage.log.fetchval("SELECT sum(position) FROM heads")
    first = "".join(line(7500 + n) + "\n" for n in range(3)).encode()
    status, answer = await send_messages(stage, [(first, True), (b'{"tool"', True)])
    assert status == 400
    assert b"3 good lines were stored." in answer
    assert await stage.log.fetchval("SELECT sum(position) FROM heads") == before + 3
    status, answer = await send_messages(stage, [(b"", True)])
    assert (status, b"Nothing was stored." in answer) == (400, True)


async def test_a_body_without_a_length_that_is_too_large_is_answered_with_what_was_stored(
    stage: Stage,
) -> None:
    first = "".join(line(7600 + n) + "\n" for n in range(2)).encode()
    status, answer = await send_messages(stage, [(first, True), (b"\n" * (8 * 1024 * 1024), False)])
    assert (status, b"2 good lines were stored." in answer) == (413, True)


async def send_messages(
    stage: Stage, parts: list[tuple[bytes, bool]], more: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Status and body of the answer to a request whose body arrives in these parts, each with whether more follows."""
    received: list[Any] = [
        {"type": "http.request", "body": body, "more_body": more_body} for body, more_body in reversed(parts)
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return received.pop() if received else {"type": "http.disconnect"}

    async def keep(message: Any) -> None:
        sent.append(message)

    headers = {**stage.vote_key, **NDJSON, "Host": "shiplog.test", **(more or {})}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/votes/bulk", "raw_path": b"/v1/votes/bulk", "query_string": b"", "root_path": "",
        "client": ("127.0.0.1", 1), "server": ("shiplog.test", 80), "extensions": {}, "state": {},
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    await stage.client._transport.app(scope, receive, keep)  # type: ignore[attr-defined]
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


async def test_an_empty_body_is_accepted(stage: Stage) -> None:
    assert (await send(stage, b"")).json()["received"] == 0


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/json"}, b"{}", 415),
        ({**NDJSON, "Content-Encoding": "br"}, b"{}", 415),
        ({**NDJSON, "Content-Encoding": "gzip"}, b"not gzip", 400),
        ({**NDJSON, "Content-Encoding": "zstd"}, zstd.compress(b"0" * 65 * 1024 * 1024), 413),
        (NDJSON, b"0" * (8 * 1024 * 1024 + 1), 413),
    ],
    ids=["json", "brotli", "damaged", "bomb", "too large"],
)
async def test_a_body_that_cannot_be_read_is_rejected(
    stage: Stage, headers: Mapping[str, str], body: bytes, status: int
) -> None:
    answer = await send(stage, body, headers)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/problem+json")


async def test_bulk_votes_need_an_api_key(client: AsyncTestClient[Litestar]) -> None:
    assert (await client.post("/v1/votes/bulk", content=b"", headers=dict(NDJSON))).status_code == 401
