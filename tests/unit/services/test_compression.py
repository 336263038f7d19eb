"""The encoding of an answer: by Accept-Encoding, as RFC 9110 section 12.5.3 has it; and compressed bodies."""

from __future__ import annotations

import gzip

import pytest
from backports import zstd

from services.api.http.answers.compression import (
    CACHE_BYTES_MAX,
    CompressedBodies,
    choose_encoding,
    is_compressible,
)

ACCEPTED = {
    "": "identity",
    "gzip": "gzip",
    "GZIP": "gzip",
    "x-gzip": "gzip",
    "zstd": "zstd",
    "gzip, deflate, br, zstd": "gzip",
    "gzip;q=0.5, zstd": "zstd",
    "gzip;q=0": "identity",
    "gzip; q=0, zstd": "zstd",
    "br": "identity",
    "deflate, br;q=0.9": "identity",
    "*": "gzip",
    "*;q=0.1": "gzip",
    "gzip;q=0, *": "zstd",
    "identity": "identity",
    "identity, gzip;q=0.5": "identity",
    "identity;q=0.5, gzip": "gzip",
    "identity;q=0, gzip": "gzip",
    "identity;q=0": None,
    "*;q=0": None,
    "br, *;q=0": None,
    "gzip, *;q=0": "gzip",
    "*;q=0, identity": "identity",
    "gzip;q=2": "identity",
    "gzip;q=x": "identity",
    ";;,,;q=": "identity",
    "gz\xffip, \x80": "identity",
}


@pytest.mark.parametrize(("accepted", "encoding"), ACCEPTED.items())
def test_the_encoding_by_what_is_accepted(accepted: str, encoding: str | None) -> None:
    assert choose_encoding(accepted) == encoding


@pytest.mark.parametrize(
    ("accepted", "encoding"), [("gzip", "identity"), ("gzip, identity;q=0", "gzip"), ("*;q=0", None)]
)
def test_a_small_body_is_compressed_only_on_demand(accepted: str, encoding: str | None) -> None:
    assert choose_encoding(accepted, small=True) == encoding


@pytest.mark.parametrize(
    ("content_type", "compressible"),
    [
        ("text/html; charset=utf-8", True), ("text/css", True), ("application/json", True), ("application/feed+json", True),
        ("application/atom+xml; charset=utf-8", True), ("application/vnd.oai.openapi+json", True), ("image/svg+xml", True),
        ("text/event-stream", False), ("text/event-stream; charset=utf-8", False), ("image/png", False), ("", False),
        ("application/octet-stream", False),
    ],
)  # fmt: skip
def test_which_media_types_are_compressed(content_type: str, compressible: bool) -> None:
    assert is_compressible(content_type.encode()) is compressible


@pytest.mark.parametrize("size", [10, 5_000, 200_000])
async def test_a_compressed_body_is_the_same_each_time(size: int) -> None:
    bodies, body = CompressedBodies(), b"ship " * size
    compressed = [await bodies.compress(body, b"digest", "gzip") for _ in range(2)]
    assert compressed[0] is compressed[1]
    assert gzip.decompress(compressed[0]) == body
    assert zstd.decompress(await bodies.compress(body, b"digest", "zstd")) == body
    assert await CompressedBodies().compress(body, b"digest", "gzip") == compressed[0]


async def test_compressed_bodies_take_a_limited_amount_of_memory() -> None:
    bodies = CompressedBodies()
    for number in range(64):
        await bodies.compress(bytes(number * 7 % 251 for _ in range(1_000)) * 4, b"%d" % number, "gzip")
    bodies._bytes = CACHE_BYTES_MAX
    await bodies.compress(b"new" * 1_000, b"new", "gzip")
    assert (b"0", "gzip") not in bodies._bodies
    assert (b"new", "gzip") in bodies._bodies
