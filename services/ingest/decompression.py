"""Decompression of gzip and zstd as the data arrives, in pieces of limited size, which are then joined and split into whole lines."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Encoding = Literal["identity", "gzip", "zstd"]
PIECE_BYTES_MAX = 128 * 1024
LINE_BYTES_MAX = 4096
_GZIP_HEADER = 31  # zlib's window size for data with a gzip header


class CorruptData(Exception):
    """The compressed data is damaged or cut short."""


class Decompressor(Protocol):
    """``decompress`` gives pieces of at most PIECE_BYTES_MAX; it and ``finish`` raise CorruptData."""

    def decompress(self, data: bytes) -> Iterator[bytes]: ...
    def finish(self) -> None: ...


class Uncompressed:
    def decompress(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), PIECE_BYTES_MAX):
            yield data[start : start + PIECE_BYTES_MAX]

    def finish(self) -> None:
        return


class GzipDecompressor:
    """Reads several members in a row, as `cat a.gz b.gz` writes them. Skips zeros after a member, as gzip does: padding."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_HEADER)
        self._begun = False

    def decompress(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member.eof:
                if not (data := data.lstrip(b"\0")):
                    return
                self._member = zlib.decompressobj(_GZIP_HEADER)
            self._begun = True
            yield _checked(lambda compressed: self._member.decompress(compressed, PIECE_BYTES_MAX), data)
            data = self._member.unconsumed_tail or self._member.unused_data

    def finish(self) -> None:
        if self._begun and not self._member.eof:
            raise CorruptData


class ZstdDecompressor:
    """Reads several frames in a row."""

    def __init__(self) -> None:
        self._frame = zstd.ZstdDecompressor()
        self._begun = False

    def decompress(self, data: bytes) -> Iterator[bytes]:
        while data or not (self._frame.needs_input or self._frame.eof):
            if self._frame.eof:
                self._frame = zstd.ZstdDecompressor()
            self._begun = True
            yield _checked(lambda compressed: self._frame.decompress(compressed, PIECE_BYTES_MAX), data)
            data = self._frame.unused_data if self._frame.eof else b""

    def finish(self) -> None:
        if self._begun and not self._frame.eof:
            raise CorruptData


def encoding_of(head: bytes) -> Encoding:
    """By the first bytes (RFC 1952 section 2.3.1, RFC 8878 section 3.1). pzstd begins with a skippable frame."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    skippable = head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5
    return "zstd" if skippable or head.startswith(b"\x28\xb5\x2f\xfd") else "identity"


def decompressor_for(encoding: Encoding) -> Decompressor:
    match encoding:
        case "identity":
            return Uncompressed()
        case "gzip":
            return GzipDecompressor()
        case "zstd":
            return ZstdDecompressor()


def _checked(decompress: Callable[[bytes], bytes], data: bytes) -> bytes:
    try:
        return decompress(data)
    except (zlib.error, zstd.ZstdError) as error:
        raise CorruptData from error


class LineBuffer:
    """Turns pieces into blocks of whole lines. Of a line above LINE_BYTES_MAX it keeps enough for it to be rejected."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False

    def add(self, piece: bytes) -> bytes:
        """The lines that are complete now, each with its newline. The last, incomplete one stays in the buffer."""
        if self._skipping:
            _, newline, piece = piece.partition(b"\n")
            self._skipping = not newline
        block, newline, rest = (self._rest + piece).rpartition(b"\n")
        if len(rest) > LINE_BYTES_MAX:
            self._skipping, self._rest = True, b""
            return block + newline + rest + b"\n"
        self._rest = rest
        return block + newline

    def flush(self) -> bytes:
        """The last line, if it has no newline."""
        rest, self._rest = self._rest, b""
        return rest
