"""Bulk votes: valid lines are stored, the others are listed, and sending all of them again changes nothing."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping

import httpx
import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient
from uuid_utils.compat import uuid7

from services.ingest.decompression import zstd
from tests.support.stage import Stage

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
        12: "",
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
