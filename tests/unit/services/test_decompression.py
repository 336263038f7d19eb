"""Unpacking: whatever the packing and wherever it is cut, the same lines come out; bombs come in small pieces."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.decompression import LINE_BYTES_MAX, PIECE, Damaged, Encoding, Lines, unpacker, zstd

PACK = {"identity": bytes, "gzip": gzip.compress, "zstd": zstd.compress}
encodings = st.sampled_from(["identity", "gzip", "zstd"])
contents = st.lists(st.binary(max_size=200).map(lambda line: line.replace(b"\n", b" ")), max_size=50)


def unpacked(encoding: Encoding, packed: bytes, cut: int) -> bytes:
    unpacking, lines, out = unpacker(encoding), Lines(), b""
    for start in range(0, len(packed), cut):
        for piece in unpacking.unpack(packed[start : start + cut]):
            out += lines.cut(piece)
    unpacking.finish()
    return out + lines.last()


@given(encodings, contents, st.integers(1, 300))
def test_the_same_lines_come_out(encoding: Encoding, content: list[bytes], cut: int) -> None:
    whole = b"\n".join(content)
    assert unpacked(encoding, PACK[encoding](whole), cut) == whole


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_packed_parts_may_follow_one_another(encoding: Encoding) -> None:
    pack = PACK[encoding]
    assert unpacked(encoding, pack(b"a\n") + pack(b"b\n"), 7) == b"a\nb\n"


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_comes_in_small_pieces(encoding: Encoding) -> None:
    bomb = PACK[encoding](b"0" * 50_000_000)
    assert len(bomb) < 100_000
    assert max(len(piece) for piece in unpacker(encoding).unpack(bomb)) <= PIECE


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_what_is_cut_short_or_not_packed_is_damaged(encoding: Encoding) -> None:
    packed = PACK[encoding](b"some lines\n" * 100)
    with pytest.raises(Damaged):
        unpacked(encoding, packed[:-5], 1000)
    with pytest.raises(Damaged):
        unpacked(encoding, b"this is not packed at all", 1000)


@pytest.mark.parametrize("cut", [1, 100, 5_000, 100_000])
def test_a_line_without_end_is_not_kept(cut: int) -> None:
    sent = b"short\n" + b"x" * 60_000 + b"\nafter\n"
    lines = unpacked("identity", sent, cut).split(b"\n")
    assert (lines[0], lines[2:]) == (b"short", [b"after", b""])
    assert len(lines[1]) > LINE_BYTES_MAX
