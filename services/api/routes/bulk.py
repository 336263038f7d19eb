"""Bulk votes: NDJSON appended in large batches as it arrives. The answer lists the rejected lines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import cast, get_args

from litestar import Response, post
from litestar.exceptions import HTTPException

from domain.shared.plurals import count_of
from services.api.http.app_state import app_state
from services.api.http.auth import for_key, is_key_valid, key_of
from services.api.http.documented import reads_body
from services.api.http.overload.bulk_slots import BodyTooSlow, BulkSlot
from services.api.http.problems import HttpRejected, problem_of, problem_responses
from services.api.http.rate_limits import admit_key
from services.api.http.requests import AnyRequest
from services.ingest.bulk import BulkIngest, BulkResult, TooManyBadLines, describe_stored
from services.ingest.decompression import PIECE_BYTES_MAX, CorruptData, Encoding, LineBuffer, decompressor_for

PATH = "/v1/votes/bulk"
BULK_BYTES_MAX = 8 * 1024 * 1024
DECOMPRESSED_BYTES_MAX = 64 * 1024 * 1024
MEDIA_TYPE = "application/x-ndjson"
KEY_CHECK_SECONDS = 2.0
_CLOSING = {"Connection": "close"}
_ADVICE = {
    "damaged": "Send everything again.",
    "too-large": "Send the rest in parts.",
    "too-many-bad-lines": "Correct the lines and send them again.",
    "too-slow": "Send everything again: a line that has an id counts only once.",
    "unauthenticated": "Send the rest with a key that is valid.",
}


class _Bomb(Exception):
    """The body exceeds DECOMPRESSED_BYTES_MAX."""


class _KeyRevoked(Exception):
    """The request's API key has been revoked since the request began."""


# What ends a request before its last line. Of the rest of the errors, some are the client's too.
_EARLY_ENDS = (CorruptData, TooManyBadLines, BodyTooSlow, HttpRejected, HTTPException, _Bomb, _KeyRevoked)
_ADVISED_STATUSES = {400, 401, 408, 413}


@post(
    PATH,
    status_code=200,
    guards=[for_key("votes:write")],
    responses=problem_responses(401, 403, 413, 415, 429),
    request_max_body_size=BULK_BYTES_MAX,
    opt=reads_body({MEDIA_TYPE: str}, encodings=get_args(Encoding)),
)
async def cast_votes(request: AnyRequest) -> Response[BulkResult]:
    """Store the valid lines and list the others. A line that has an id can be sent again: it counts once.

    One vote a line: `{"tool": slug, "choice": "ship"|"skip", "voter": str, "id"?: uuid7}`. At most 8 MiB as sent and
    64 MiB decompressed; `Content-Encoding: gzip` or `zstd`. Blank lines are skipped. More than 10,000 bad lines end the
    request with 400.
    """
    encoding = _encoding(request)
    key = await key_of(request)
    source = key.id if key else ""
    limits = await admit_key(request, source)
    with app_state(request).bulk_slots.acquire(source) as slot:
        ingest = app_state(request).open_bulk_ingest(source)
        try:
            result = await _ingest(request, encoding, ingest, slot)
        finally:
            ingest.abandon()
    return Response(result, headers={"Cache-Control": "no-store", **limits})


async def _ingest(request: AnyRequest, encoding: Encoding, ingest: BulkIngest, slot: BulkSlot) -> BulkResult:
    try:
        await _submit_all(request, encoding, ingest, slot)
    except _EARLY_ENDS as error:
        end = _rejection_of(error, ingest.result)
        if end.status not in _ADVISED_STATUSES:
            raise
        if isinstance(error, _KeyRevoked):
            await ingest.finish_without_pending()
        stored = describe_stored((await ingest.finish()).stored)
        detail = " ".join(filter(None, (end.detail, stored, _ADVICE.get(end.slug))))
        raise HttpRejected(end.status, end.slug, detail, end.headers) from None
    return await ingest.finish()


def _rejection_of(error: Exception, result: BulkResult) -> HttpRejected:
    """Without what was stored, which is known after the last commit."""
    match error:
        case CorruptData():
            return HttpRejected(400, "damaged", "The compressed data is damaged or cut short.")
        case _Bomb():
            return HttpRejected(413, "too-large", "The body is larger than 64 MiB when decompressed.")
        case TooManyBadLines():
            return HttpRejected(400, "too-many-bad-lines", _too_many(result))
        case BodyTooSlow():
            return HttpRejected(408, "too-slow", "The body arrived too slowly.", _CLOSING)
        case _KeyRevoked():
            detail = "This API key was revoked while its lines arrived."
            return HttpRejected(401, "unauthenticated", detail, _CLOSING)
        case _:
            return problem_of(error)


def _too_many(result: BulkResult) -> str:
    first = result.rejected[0]
    return (
        f"{result.rejected_total:,} of the {count_of(result.received, 'line')} read so far are bad, and the rest was not read. "
        f"The first bad one is line {first.line}: {first.detail}"
    )


async def _submit_all(request: AnyRequest, encoding: Encoding, ingest: BulkIngest, slot: BulkSlot) -> None:
    decompressor, lines, decompressed = decompressor_for(encoding), LineBuffer(), 0
    key = _KeyCheck(request)
    async with _receive_ahead(request, slot) as body:
        async for part in body.parts():
            await key.check()
            for piece in decompressor.decompress(part):
                decompressed += len(piece)
                if decompressed > DECOMPRESSED_BYTES_MAX:
                    raise _Bomb
                await ingest.submit(lines.add(piece))
                await ingest.pause()
                body.check()
    await key.check()
    decompressor.finish()
    await ingest.submit(lines.flush())


class _KeyCheck:
    """Looks again, every two seconds while a body arrives, whether its API key is valid."""

    def __init__(self, request: AnyRequest) -> None:
        self._request, self._checked = request, time.monotonic()

    async def check(self) -> None:
        """Raises _KeyRevoked."""
        now = time.monotonic()
        if now - self._checked < KEY_CHECK_SECONDS:
            return
        self._checked = now
        if not await is_key_valid(self._request):
            raise _KeyRevoked


class _Body:
    """A body whose next part is received while one is processed, so that ``check`` sees at once that the sender has left."""

    def __init__(self, request: AnyRequest, stream: AsyncGenerator[bytes, None], slot: BulkSlot) -> None:
        self._request, self._stream, self._slot = request, stream, slot
        self._next = asyncio.create_task(self._receive())
        self._departure: asyncio.Task[object] | None = None

    async def parts(self) -> AsyncIterator[bytes]:
        while part := await self._next:
            self._next = asyncio.create_task(self._receive())
            for start in range(0, len(part), PIECE_BYTES_MAX):
                yield part[start : start + PIECE_BYTES_MAX]

    def check(self) -> None:
        """Raises what ended the body early, or HttpRejected when the sender has left."""
        if self._next.done():
            self._next.result()
        if self._departure and self._departure.done():
            raise HttpRejected(400, "invalid", "The sender left before it was answered.")

    async def close(self) -> None:
        self._next.cancel()
        await asyncio.gather(self._next, return_exceptions=True)
        if self._departure:
            self._departure.cancel()
            await asyncio.gather(self._departure, return_exceptions=True)

    async def _receive(self) -> bytes:
        part = await self._slot.receive(anext(self._stream))
        if not part:  # the body is complete: the next message says that the sender has left
            self._departure = asyncio.create_task(self._until_left())
        return part

    async def _until_left(self) -> None:
        await self._request.receive()


@asynccontextmanager
async def _receive_ahead(request: AnyRequest, slot: BulkSlot) -> AsyncIterator[_Body]:
    async with aclosing(request.stream()) as stream:
        body = _Body(request, stream, slot)
        try:
            yield body
        finally:
            await body.close()


def _encoding(request: AnyRequest) -> Encoding:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE:
        raise HttpRejected(
            415, "unsupported-media-type", f"Send one vote a line, with Content-Type: {MEDIA_TYPE}."
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in get_args(Encoding):
        raise HttpRejected(
            415, "unsupported-encoding", "Send Content-Encoding: gzip or zstd, or leave it out."
        )
    return cast(Encoding, encoding)
