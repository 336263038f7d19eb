"""Bulk votes: NDJSON appended in large batches as it arrives. The answer lists the rejected lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import cast, get_args

from litestar import Response, post
from litestar.exceptions import HTTPException
from litestar.openapi.spec import OpenAPIMediaType, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.openapi.spec.operation import Operation

from services.api.http.app_state import app_state
from services.api.http.auth import for_key, key_of
from services.api.http.problems import HttpRejected, problem_of, problem_responses
from services.api.http.rate_limits import admit_key
from services.api.http.requests import AnyRequest
from services.ingest.bulk import BulkIngest, BulkResult, TooManyBadLines
from services.ingest.decompression import PIECE_BYTES_MAX, CorruptData, Encoding, LineBuffer, decompressor_for

PATH = "/v1/votes/bulk"
BULK_BYTES_MAX = 8 * 1024 * 1024
DECOMPRESSED_BYTES_MAX = 64 * 1024 * 1024
MEDIA_TYPE = "application/x-ndjson"
_ADVICE = {
    "damaged": "Send everything again.",
    "too-large": "Send the rest in parts.",
    "too-many-bad-lines": "Correct the lines and send them again.",
}


@dataclass
class _BulkOperation(Operation):
    request_body: RequestBody | None = field(
        default_factory=lambda: RequestBody(
            required=True,
            description=(
                'One vote a line: `{"tool": slug, "choice": "ship"|"skip", "voter": str, "id"?: uuid7}`. '
                "At most 8 MiB as sent and 64 MiB decompressed; `Content-Encoding: gzip` or `zstd`. "
                "Blank lines are skipped. More than 10,000 bad lines end the request with 400."
            ),
            content={MEDIA_TYPE: OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))},
        )
    )


@post(
    PATH,
    status_code=200,
    guards=[for_key("votes:write")],
    responses=problem_responses(401, 403, 413, 415, 429),
    request_max_body_size=BULK_BYTES_MAX,
    operation_class=_BulkOperation,
)
async def cast_votes(request: AnyRequest) -> Response[BulkResult]:
    """Store the valid lines and list the others. A line that has an id can be sent again: it counts once."""
    encoding = _encoding(request)
    key = await key_of(request)
    source = key.id if key else ""
    limits = await admit_key(request, source)
    with app_state(request).bulk_slots.acquire():
        ingest = app_state(request).open_bulk_ingest(source)
        try:
            result = await _ingest(request, encoding, ingest)
        finally:
            ingest.abandon()
    return Response(result, headers={"Cache-Control": "no-store", **limits})


async def _ingest(request: AnyRequest, encoding: Encoding, ingest: BulkIngest) -> BulkResult:
    try:
        await _submit_all(request, encoding, ingest)
    except CorruptData:
        status, slug, cause = 400, "damaged", "The compressed data is damaged or cut short."
    except _Bomb:
        status, slug, cause = 413, "too-large", "The body is larger than 64 MiB when decompressed."
    except TooManyBadLines:
        status, slug, cause = 400, "too-many-bad-lines", _too_many(ingest.result)
    except (HttpRejected, HTTPException) as error:  # the rest of the body did not arrive
        rejected = problem_of(error)
        if rejected.status not in (400, 408, 413):
            raise
        detail = f"{rejected.detail} {(await ingest.finish()).stored}"
        raise HttpRejected(rejected.status, rejected.slug, detail, rejected.headers) from None
    else:
        return await ingest.finish()
    raise HttpRejected(status, slug, f"{cause} {(await ingest.finish()).stored} {_ADVICE[slug]}")


def _too_many(result: BulkResult) -> str:
    first = result.rejected[0]
    return (
        f"{result.rejected_total:,} of the {result.received:,} lines read so far are bad, and the rest was not read. "
        f"The first bad one is line {first.line}: {first.detail}"
    )


async def _submit_all(request: AnyRequest, encoding: Encoding, ingest: BulkIngest) -> None:
    decompressor, lines, decompressed = decompressor_for(encoding), LineBuffer(), 0
    async with _receive_ahead(request) as body:
        async for part in body.parts():
            for piece in decompressor.decompress(part):
                decompressed += len(piece)
                if decompressed > DECOMPRESSED_BYTES_MAX:
                    raise _Bomb
                await ingest.submit(lines.add(piece))
                await ingest.pause()
                body.check()
    decompressor.finish()
    await ingest.submit(lines.flush())


class _Bomb(Exception):
    """The body exceeds DECOMPRESSED_BYTES_MAX."""


class _Body:
    """A body whose next part is received while one is processed, so that ``check`` sees at once that the sender has left."""

    def __init__(self, request: AnyRequest, stream: AsyncGenerator[bytes, None]) -> None:
        self._request, self._stream = request, stream
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
        part = await anext(self._stream)
        if not part:  # the body is complete: the next message says that the sender has left
            self._departure = asyncio.create_task(self._until_left())
        return part

    async def _until_left(self) -> None:
        await self._request.receive()


@asynccontextmanager
async def _receive_ahead(request: AnyRequest) -> AsyncIterator[_Body]:
    async with aclosing(request.stream()) as stream:
        body = _Body(request, stream)
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
