"""Decompression: the same lines for every encoding and however the data is cut, and pieces of limited size."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.decompression import (
    LINE_BYTES_MAX,
    PIECE_BYTES_MAX,
    CorruptData,
    Encoding,
    LineBuffer,
    decompressor_for,
    zstd,
)

COMPRESS = {"identity": bytes, "gzip": gzip.compress, "zstd": zstd.compress}
encodings = st.sampled_from(["identity", "gzip", "zstd"])
contents = st.lists(st.binary(max_size=200).map(lambda line: line.replace(b"\n", b" ")), max_size=50)


def decompressed(encoding: Encoding, data: bytes, part_bytes: int) -> bytes:
    """The decompressed ``data``, which arrives in parts of this size."""
    decompressor, lines, out = decompressor_for(encoding), LineBuffer(), b""
    for start in range(0, len(data), part_bytes):
        for piece in decompressor.decompress(data[start : start + part_bytes]):
            out += lines.add(piece)
    decompressor.finish()
    return out + lines.flush()


@given(encodings, contents, st.integers(1, 300))
def test_the_decompressed_lines_equal_the_compressed_ones(
    encoding: Encoding, content: list[bytes], part_bytes: int
) -> None:
    whole = b"\n".join(content)
    assert decompressed(encoding, COMPRESS[encoding](whole), part_bytes) == whole


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_members_and_frames_may_follow_one_another(encoding: Encoding) -> None:
    compress = COMPRESS[encoding]
    assert decompressed(encoding, compress(b"a\n") + compress(b"b\n"), 7) == b"a\nb\n"


@pytest.mark.parametrize("part_bytes", [1, 7, 10_000])
def test_zeros_after_a_gzip_member_are_padding(part_bytes: int) -> None:
    """RFC 1952 leaves them out; gzip and Python's gzip skip them, as blocks of tapes and of `dd conv=sync` end with them."""
    member, padding = gzip.compress(b"a line\n"), bytes(500)
    padded = member + padding + member + padding
    assert decompressed("gzip", padded, part_bytes) == b"a line\n" * 2
    with pytest.raises(CorruptData):
        decompressed("gzip", padded + b"x", part_bytes)
    with pytest.raises(CorruptData):
        decompressed("gzip", padding + member, part_bytes)


@pytest.mark.parametrize("encoding", ["identity", "gzip", "zstd"])
def test_a_decompression_bomb_comes_in_pieces_of_limited_size(encoding: Encoding) -> None:
    bomb = COMPRESS[encoding](b"0" * 50_000_000)
    assert encoding == "identity" or len(bomb) < 100_000
    assert max(len(piece) for piece in decompressor_for(encoding).decompress(bomb)) <= PIECE_BYTES_MAX


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_data_that_is_cut_short_or_not_compressed_is_corrupt(encoding: Encoding) -> None:
    compressed = COMPRESS[encoding](b"some lines\n" * 100)
    with pytest.raises(CorruptData):
        decompressed(encoding, compressed[:-5], 1000)
    with pytest.raises(CorruptData):
        decompressed(encoding, b"this is not compressed at all", 1000)


@pytest.mark.parametrize("part_bytes", [1, 100, 5_000, 100_000])
def test_a_line_above_the_limit_is_cut_off(part_bytes: int) -> None:
    sent = b"short\n" + b"x" * 60_000 + b"\nafter\n"
    lines = decompressed("identity", sent, part_bytes).split(b"\n")
    assert (lines[0], lines[2:]) == (b"short", [b"after", b""])
    assert len(lines[1]) > LINE_BYTES_MAX
