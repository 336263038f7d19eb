"""Bulk votes: NDJSON appended in large batches as it arrives. The answer lists the rejected lines."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast, get_args

from litestar import Response, post
from litestar.openapi.spec import OpenAPIMediaType, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.openapi.spec.operation import Operation

from services.api.http.app_state import app_state
from services.api.http.auth import for_key, key_of
from services.api.http.problems import HttpRejected, problem_responses
from services.api.http.rate_limits import admit_key
from services.api.http.requests import AnyRequest
from services.ingest.bulk import BulkIngest, BulkResult
from services.ingest.decompression import CorruptData, Encoding, LineBuffer, decompressor_for

PATH = "/v1/votes/bulk"
BULK_BYTES_MAX = 8 * 1024 * 1024
DECOMPRESSED_BYTES_MAX = 64 * 1024 * 1024
MEDIA_TYPE = "application/x-ndjson"


@dataclass
class _BulkOperation(Operation):
    request_body: RequestBody | None = field(
        default_factory=lambda: RequestBody(
            required=True,
            description=(
                'One vote a line: `{"tool": slug, "choice": "ship"|"skip", "voter": str, "id"?: uuid7}`. '
                "At most 8 MiB as sent and 64 MiB decompressed; `Content-Encoding: gzip` or `zstd`."
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
    decompressor, lines, decompressed = decompressor_for(encoding), LineBuffer(), 0
    try:
        async with aclosing(request.stream()) as stream:
            async for part in stream:
                for piece in decompressor.decompress(part):
                    decompressed += len(piece)
                    if decompressed > DECOMPRESSED_BYTES_MAX:
                        raise HttpRejected(
                            413,
                            "too-large",
                            "The body is larger than 64 MiB when decompressed. Send it in parts.",
                        )
                    await ingest.submit(lines.add(piece))
        decompressor.finish()
    except CorruptData:
        raise HttpRejected(400, "damaged", CorruptData.__doc__ or "") from None
    await ingest.submit(lines.flush())
    return await ingest.finish()


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
