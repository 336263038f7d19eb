"""Admission control: limits on bodies, answers and streams, and connections that are closed for others to be accepted."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from litestar.enums import ScopeType

from services.api.http.broadcast import Broadcast, Subscriber
from services.api.http.overload.admission import (
    ANSWER_BYTES_MAX,
    BODY_BYTES_MAX,
    IN_FLIGHT_MAX,
    LARGE_ANSWER_BYTES,
    AdmissionControl,
    BoundedRequest,
    limit_in_flight,
    open_file_descriptors,
)
from services.api.http.problems import HttpRejected
from services.api.routes.bulk import PATH as BULK_PATH

VOTE: Any = {"type": ScopeType.HTTP, "path": "/v1/votes"}
BULK: Any = {"type": ScopeType.HTTP, "path": BULK_PATH}


class Sent:
    """Records an answer; the body as the pieces it was sent in."""

    def __init__(self) -> None:
        self.start: dict[str, Any] = {}
        self.pieces: list[bytes] = []
        self.ended = False

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        else:
            assert not self.ended
            self.pieces.append(message["body"])
            self.ended = not message.get("more_body", False)

    @property
    def header(self) -> dict[bytes, bytes]:
        return dict(self.start["headers"])


def body(*pieces: bytes) -> Any:
    left: Iterator[bytes] = iter(pieces)

    async def receive() -> Any:
        return {"type": "http.request", "body": next(left), "more_body": True}

    return receive


async def never() -> Any:
    await asyncio.Future[None]()


def answering(content: bytes) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": content, "more_body": False})

    return app


@pytest.mark.parametrize("scope", [VOTE, BULK], ids=["vote", "bulk"])
async def test_a_body_that_does_not_arrive_in_time_is_a_408(scope: Any) -> None:
    admission = AdmissionControl(1, BULK_PATH)
    receiving = asyncio.create_task(BoundedRequest(admission, scope, never, Sent()).receive())
    await asyncio.sleep(0)
    admission.cancel_overdue(started_before=0.0)
    assert admission.receiving
    admission.cancel_overdue(started_before=time.perf_counter() + 1)
    with pytest.raises(HttpRejected) as rejected:
        await receiving
    assert (rejected.value.status, rejected.value.headers) == (408, {"Connection": "close"})
    assert not admission.receiving
    assert not admission.overdue


async def test_a_client_that_disconnects_while_its_body_is_awaited_gets_no_answer() -> None:
    admission = AdmissionControl(1, BULK_PATH)
    receiving = asyncio.create_task(BoundedRequest(admission, VOTE, never, Sent()).receive())
    await asyncio.sleep(0)
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert not admission.receiving


async def test_a_body_in_small_parts_gains_no_time_except_in_bulk() -> None:
    admission = AdmissionControl(1, BULK_PATH)
    parts, lines = (BoundedRequest(admission, scope, body(b"a", b"b"), Sent()) for scope in (VOTE, BULK))
    for request in (parts, lines):
        await request.receive()
        request._started -= 5
    before = (parts._started, lines._started)
    for request in (parts, lines):
        await request.receive()
    assert parts._started == before[0]
    assert lines._started > before[1]


async def test_large_bodies_share_a_limit_that_excludes_small_and_bulk_bodies() -> None:
    admission = AdmissionControl(1, BULK_PATH)
    first = BoundedRequest(admission, VOTE, body(b"a" * BODY_BYTES_MAX), Sent())
    await first.receive()
    with pytest.raises(HttpRejected) as rejected:
        await BoundedRequest(admission, VOTE, body(b"a" * 2_000), Sent()).receive()
    assert (rejected.value.status, rejected.value.headers["Retry-After"]) == (503, "1")
    await BoundedRequest(admission, VOTE, body(b"a" * 60), Sent()).receive()
    await BoundedRequest(admission, BULK, body(b"a" * 2_000), Sent()).receive()
    first.end()
    await BoundedRequest(admission, VOTE, body(b"a" * 2_000), Sent()).receive()


@pytest.mark.parametrize("size", [0, 1, LARGE_ANSWER_BYTES, LARGE_ANSWER_BYTES + 1, 1_000_000])
async def test_an_answer_sent_in_pieces_is_complete(size: int) -> None:
    admission, sent = AdmissionControl(1, BULK_PATH), Sent()
    content = bytes(n % 251 for n in range(size))
    await limit_in_flight(answering(content), admission)(VOTE, never, sent)
    assert b"".join(sent.pieces) == content
    assert sent.ended
    assert (admission.answer_bytes, admission.in_flight) == (0, 0)


async def test_large_answers_share_a_limit() -> None:
    admission, read = AdmissionControl(1, BULK_PATH), asyncio.Event()

    large = limit_in_flight(answering(b"a" * (ANSWER_BYTES_MAX // 2 + 1)), admission)
    first, rejected, small, later = Sent(), Sent(), Sent(), Sent()

    async def read_slowly(message: Any) -> None:
        await first(message)
        if message["type"] == "http.response.body":
            await read.wait()

    reading = asyncio.create_task(large(VOTE, never, read_slowly))
    await asyncio.sleep(0)
    await large(VOTE, never, rejected)
    assert (rejected.start["status"], rejected.header[b"retry-after"], rejected.ended) == (503, b"1", True)
    await limit_in_flight(answering(b"a"), admission)(VOTE, never, small)
    assert small.start["status"] == 200
    read.set()
    await reading
    assert first.ended
    await large(VOTE, never, later)
    assert later.start["status"] == 200


async def test_a_request_above_the_limit_in_flight_is_a_503() -> None:
    admission, sent = AdmissionControl(1, BULK_PATH), Sent()
    admission.in_flight = IN_FLIGHT_MAX
    await limit_in_flight(answering(b""), admission)(VOTE, never, sent)
    assert (sent.start["status"], sent.header[b"retry-after"]) == (503, b"1")
    assert admission.in_flight == IN_FLIGHT_MAX


async def test_a_stream_is_in_flight_until_it_begins() -> None:
    admission, seen = AdmissionControl(1, BULK_PATH), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(admission.in_flight)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
        seen.append(admission.in_flight)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await limit_in_flight(app, admission)(VOTE, never, Sent())
    assert (seen, admission.in_flight) == ([1, 0], 0)


async def test_a_stream_that_is_not_read_ends_and_its_error_is_not_reported() -> None:
    admission, ended = AdmissionControl(1, BULK_PATH), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
        finally:
            ended.set()

    async def unread(message: Any) -> None:
        if message["type"] == "http.response.body":
            await never()

    streaming = asyncio.create_task(limit_in_flight(app, admission)(VOTE, never, unread))
    await asyncio.sleep(0)
    admission.cancel_overdue(started_before=0.0)
    assert admission.sending
    admission.cancel_overdue(started_before=time.perf_counter() + 1)
    await streaming
    assert ended.is_set()
    assert not admission.sending
    assert not admission.overdue


async def test_a_saturated_process_closes_after_every_503_and_every_16th_answer() -> None:
    admission = AdmissionControl(1, BULK_PATH)
    admission.saturated = True
    closed = []
    for status in (*[200] * 32, 503):
        sent = Sent()
        await BoundedRequest(admission, VOTE, never, sent).send(
            {"type": "http.response.start", "status": status, "headers": []}
        )
        closed.append(b"connection" in sent.header)
    assert (sum(closed[:32]), closed[32]) == (2, True)


def test_an_open_file_is_one_more_descriptor() -> None:
    before = open_file_descriptors()
    with Path(os.devnull).open():
        assert open_file_descriptors() == before + 1


def test_a_process_without_free_descriptors_counts_as_saturated(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> list[str]:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "listdir", fail)
    assert open_file_descriptors() == sys.maxsize


class NoWakeups:
    async def listen(self) -> AsyncIterator[None]:
        await asyncio.Future[None]()
        yield


async def test_streams_are_limited_and_one_that_never_began_does_not_count() -> None:
    streams, first = Broadcast(cast(Any, None), cast(Any, NoWakeups()), streams_max=1), Subscriber({})
    streams.subscribe(first)
    with pytest.raises(HttpRejected) as rejected:
        streams.subscribe(Subscriber({}))
    assert (rejected.value.status, rejected.value.headers) == (503, {"Retry-After": "5"})
    del first
    streams.subscribe(Subscriber({}))
    await streams.close()


async def test_one_address_opens_a_quarter_of_the_streams() -> None:
    streams = Broadcast(cast(Any, None), cast(Any, NoWakeups()), streams_max=8)
    *greedy, other = [*(Subscriber({}, "192.0.2.1") for _ in range(3)), Subscriber({}, "192.0.2.2")]
    for subscriber in greedy[:2]:
        streams.subscribe(subscriber)
    with pytest.raises(HttpRejected) as rejected:
        streams.subscribe(greedy[2])
    assert (rejected.value.status, "your address" in rejected.value.detail) == (503, True)
    streams.subscribe(other)
    await streams.close()
