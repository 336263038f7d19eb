"""A segment's name and its manifest, which describes the Parquet file beside it in canonical JSON."""

from __future__ import annotations

import re
from hashlib import sha256

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from domain.shared.log import Shard

FORMAT = 1
# Of the Parquet file. SEGMENT_EVENTS in eventstore/sealed/duck.py turns them back into the columns of `events`.
COLUMNS = {
    "position": "BIGINT",
    "recorded_at": "TIMESTAMPTZ",
    "actor": "UUID",
    "id_high": "UBIGINT",
    "id_low": "UBIGINT",
    "tool": "INTEGER",
    "shard": "SMALLINT",
    "type": "VARCHAR",
    "choice": "VARCHAR",
    "replaced": "VARCHAR",
    "origin": "VARCHAR",
    "data": "JSON",
    "replaced_at": "TIMESTAMPTZ",
}


class SegmentError(Exception):
    """A segment or its folder cannot be used. Nothing was folded from it."""


class Segment(Struct, frozen=True, order=True):
    """The positions ``first`` to ``last`` of a shard, both inclusive."""

    shard: Shard
    first: int
    last: int

    @property
    def name(self) -> str:
        """The name of its files in the shard's folder, without suffix."""
        return f"{self.first:012}-{self.last:012}"

    @property
    def count(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.shard}/{self.name}"


_NAME = re.compile(r"(\d{12,18})-(\d{12,18})", re.ASCII)


def parse_segment(shard: str, name: str) -> Segment | None:
    """None if it is not the name of a segment."""
    found = _NAME.fullmatch(name)
    if found is None or not (shard.isascii() and shard.isdigit()):
        return None
    segment = Segment(Shard(int(shard)), int(found[1]), int(found[2]))
    return segment if str(segment) == f"{shard}/{name}" and 0 < segment.first <= segment.last else None


class Content(Struct, frozen=True):
    """A range as both engines read it: row count, first and last position, and the sum of the row digests (rows.py)."""

    count: int
    first: int
    last: int
    rows: str


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """``sha256`` is the digest of the Parquet file, ``manifest`` that of this JSON with an empty ``manifest``."""

    format: int
    shard: Shard
    content: Content
    columns: dict[str, str]
    sha256: str
    manifest: str = ""

    @property
    def segment(self) -> Segment:
        return Segment(self.shard, self.content.first, self.content.last)


class _Format(Struct):
    format: int


def encode(manifest: Manifest) -> bytes:
    """Canonical JSON: sorted keys, no spaces, with its own digest."""
    undigested = msgspec.json.encode(replace(manifest, manifest=""), order="sorted")
    return msgspec.json.encode(replace(manifest, manifest=sha256(undigested).hexdigest()), order="sorted")


def decode(text: bytes, name: str) -> Manifest:
    """Raises SegmentError unless these are the bytes that ``encode`` gives, in a known format."""
    try:
        found = msgspec.json.decode(text, type=_Format).format
        if found != FORMAT:
            raise SegmentError(f"{name} is of format {found}; this Shiplog reads format {FORMAT}.")
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SegmentError(f"{name} is damaged: {error}") from None
    if encode(manifest) != text:
        raise SegmentError(f"{name} is damaged: its digest does not match.")
    return manifest
