"""Unpacking: gzip, zstd or plain bytes as they arrive, in pieces of bounded size, and cut into whole lines."""

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
PIECE = 256 * 1024
LINE_BYTES_MAX = 4096
_GZIP = 31  # zlib's window size with a gzip header


class Damaged(Exception):
    """The compressed data is damaged or cut short. What came before it was stored; send the whole again."""


class Unpacker(Protocol):
    """``unpack`` gives pieces of at most PIECE bytes; ``finish`` raises Damaged when something is missing."""

    def unpack(self, data: bytes) -> Iterator[bytes]: ...
    def finish(self) -> None: ...


class Plain:
    def unpack(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        return


class Gzip:
    """Members may follow one another, as `cat a.gz b.gz` makes them."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._begun = False

    def unpack(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            self._begun = True
            yield _guarded(lambda packed: self._member.decompress(packed, PIECE), data)
            data = self._member.unconsumed_tail or self._member.unused_data

    def finish(self) -> None:
        if self._begun and not self._member.eof:
            raise Damaged


class Zstd:
    """Frames may follow one another."""

    def __init__(self) -> None:
        self._frame = zstd.ZstdDecompressor()
        self._begun = False

    def unpack(self, data: bytes) -> Iterator[bytes]:
        while data or not (self._frame.needs_input or self._frame.eof):
            if self._frame.eof:
                self._frame = zstd.ZstdDecompressor()
            self._begun = True
            yield _guarded(lambda packed: self._frame.decompress(packed, PIECE), data)
            data = self._frame.unused_data if self._frame.eof else b""

    def finish(self) -> None:
        if self._begun and not self._frame.eof:
            raise Damaged


def encoding_of(head: bytes) -> Encoding:
    """By the first bytes (RFC 1952 section 2.3.1, RFC 8878 section 3.1); pzstd begins with a frame to skip."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    skipped = head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5
    return "zstd" if skipped or head.startswith(b"\x28\xb5\x2f\xfd") else "identity"


def unpacker(encoding: Encoding) -> Unpacker:
    kinds: dict[Encoding, type[Plain | Gzip | Zstd]] = {"identity": Plain, "gzip": Gzip, "zstd": Zstd}
    return kinds[encoding]()


def _guarded(decompress: Callable[[bytes], bytes], data: bytes) -> bytes:
    try:
        return decompress(data)
    except (zlib.error, zstd.ZstdError) as error:
        raise Damaged from error


class Lines:
    """Cuts pieces into blocks of whole lines. A line that is too long is given as far as it was kept."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False

    def cut(self, piece: bytes) -> bytes:
        """The whole lines so far, each with its newline; the last, unfinished one is kept for the next call."""
        if self._skipping:
            _, newline, piece = piece.partition(b"\n")
            self._skipping = not newline
        block, newline, rest = (self._rest + piece).rpartition(b"\n")
        if len(rest) > LINE_BYTES_MAX:
            self._skipping, self._rest = True, b""
            return block + newline + rest + b"\n"
        self._rest = rest
        return block + newline

    def last(self) -> bytes:
        rest, self._rest = self._rest, b""
        return rest
