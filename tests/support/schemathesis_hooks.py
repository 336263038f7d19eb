"""What Schemathesis has to know of our bodies: two media types are texts, and bulk is compressed as its header says."""

from __future__ import annotations

import gzip
import sys

import schemathesis

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESS = {"gzip": gzip.compress, "zstd": zstd.compress}


@schemathesis.serializer("application/x-ndjson", "application/toml")
def serialize_text(context: schemathesis.SerializationContext, value: object) -> bytes:
    return _encode(value)


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, object]
) -> None:
    pack(case)


def pack(case: schemathesis.Case) -> None:
    """Without this every compressed body would be damaged, although the document allows the request."""
    compress = COMPRESS.get((case.headers or {}).get("Content-Encoding", ""))
    if compress is not None and isinstance(case.body, str | bytes):
        case.body = compress(_encode(case.body))


def _encode(body: object) -> bytes:
    return body if isinstance(body, bytes) else str(body).encode("utf-8", "surrogatepass")
