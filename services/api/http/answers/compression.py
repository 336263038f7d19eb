"""Compressed answers: the encoding that a client accepts, and the compressed bodies of a process, kept by content."""

from __future__ import annotations

import asyncio
import re
import sys
import zlib
from collections import OrderedDict
from typing import Literal

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Encoding = Literal["identity", "gzip", "zstd"]

BODY_BYTES_MIN = 1024  # a smaller body fits into one packet as it is
CACHE_BYTES_MAX = 8 * 1024 * 1024
_INLINE_BYTES_MAX = 16 * 1024  # compressed on the event loop; a larger body, in a thread
_GZIP_LEVEL, _ZSTD_LEVEL = 6, 6
_GZIP_HEADER = 31  # zlib's window size for data with a gzip header, which has no time in it
# In the order of preference among those with the same weight: what announces gzip can decode it, which is not so for zstd.
_OFFERED: tuple[Encoding, ...] = ("gzip", "zstd", "identity")
_UNNAMED = 0.0001  # identity is acceptable unless it is excluded, but what is named comes first
_TEXT = re.compile(rb"text/|image/svg\+xml|application/(?:[a-z.+-]+\+)?(?:json|xml|yaml)", re.IGNORECASE)
_WEIGHT = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\Z")


def is_compressible(content_type: bytes) -> bool:
    return _TEXT.match(content_type) is not None and not content_type.startswith(b"text/event-stream")


def choose_encoding(accepted: str, *, small: bool = False) -> Encoding | None:
    """By an Accept-Encoding header (RFC 9110 section 12.5.3). None if it excludes every encoding, identity too.

    A ``small`` body is compressed only for a client that excludes identity.
    """
    weights = _weights(accepted)
    others = weights.get("*", 0.0)
    by_encoding: dict[Encoding, float] = {
        "zstd": weights.get("zstd", others),
        "gzip": weights.get("gzip", weights.get("x-gzip", others)),
        "identity": weights.get("identity", weights.get("*", _UNNAMED)),
    }
    if small and by_encoding["identity"]:
        return "identity"
    best = max(_OFFERED, key=by_encoding.__getitem__)
    return best if by_encoding[best] else None


def _weights(accepted: str) -> dict[str, float]:
    """Malformed parts are ignored."""
    weights: dict[str, float] = {}
    for part in accepted.lower().split(","):
        name, *parameters = (each.strip() for each in part.split(";"))
        weight = next((each[2:].strip() for each in parameters if each.startswith("q=")), "1")
        if name and _WEIGHT.match(weight):
            weights[name] = float(weight)
    return weights


class CompressedBodies:
    """The compressed bodies used last, by a digest of the content: of static files and of pages that have not changed."""

    def __init__(self) -> None:
        self._bodies: OrderedDict[tuple[bytes, Encoding], bytes] = OrderedDict()
        self._bytes = 0

    async def compress(self, body: bytes, digest: bytes, encoding: Encoding) -> bytes:
        key = digest, encoding
        if (known := self._bodies.get(key)) is not None:
            self._bodies.move_to_end(key)
            return known
        if len(body) <= _INLINE_BYTES_MAX:
            compressed = _compress(body, encoding)
        else:
            compressed = await asyncio.to_thread(_compress, body, encoding)
        if key not in self._bodies:
            self._keep(key, compressed)
        return compressed

    def _keep(self, key: tuple[bytes, Encoding], compressed: bytes) -> None:
        self._bodies[key] = compressed
        self._bytes += len(compressed)
        while self._bytes > CACHE_BYTES_MAX:
            self._bytes -= len(self._bodies.popitem(last=False)[1])


def _compress(body: bytes, encoding: Encoding) -> bytes:
    if encoding == "zstd":
        return zstd.compress(body, level=_ZSTD_LEVEL)
    return zlib.compress(body, _GZIP_LEVEL, wbits=_GZIP_HEADER)
