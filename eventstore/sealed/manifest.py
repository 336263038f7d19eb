"""A segment's name and its manifest: what the file beside it holds, in bytes that have one spelling."""

from __future__ import annotations

import re
from hashlib import sha256

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from domain.shared.log import Shard

FORMAT = 1
# As Parquet has them. The view in eventstore/sealed/duck.py makes them the columns of `events` again.
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
    """A segment, or the folder of them, cannot be used. Nothing was folded from it."""


class Segment(Struct, frozen=True, order=True):
    """The positions ``first`` to ``last`` of a shard, both included."""

    shard: Shard
    first: int
    last: int

    @property
    def name(self) -> str:
        """Of its files, without their ending, in the folder of its shard."""
        return f"{self.first:012}-{self.last:012}"

    @property
    def count(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.shard}/{self.name}"


_NAME = re.compile(r"(\d{12,18})-(\d{12,18})", re.ASCII)


def parse_segment(shard: str, name: str) -> Segment | None:
    """None for a name that no segment has."""
    found = _NAME.fullmatch(name)
    if found is None or not (shard.isascii() and shard.isdigit()):
        return None
    segment = Segment(Shard(int(shard)), int(found[1]), int(found[2]))
    return segment if str(segment) == f"{shard}/{name}" and 0 < segment.first <= segment.last else None


class Content(Struct, frozen=True):
    """What both engines say of a range: its rows, the ends of it, and the sum of their digests (see rows.py)."""

    count: int
    first: int
    last: int
    rows: str


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """``sha256`` is that of the file's bytes; ``manifest`` that of this very text with an empty ``manifest``."""

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
    """Canonical: keys in order, no spaces, digested."""
    bare = msgspec.json.encode(replace(manifest, manifest=""), order="sorted")
    return msgspec.json.encode(replace(manifest, manifest=sha256(bare).hexdigest()), order="sorted")


def decode(text: bytes, name: str) -> Manifest:
    """Raises SegmentError unless these are the bytes that ``encode`` gave, of the one format we know."""
    try:
        found = msgspec.json.decode(text, type=_Format).format
        if found != FORMAT:
            raise SegmentError(f"{name} is of format {found}; this Shiplog reads format {FORMAT}.")
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SegmentError(f"{name} is damaged: {error}") from None
    if encode(manifest) != text:
        raise SegmentError(f"{name} is damaged: it is not what was written.")
    return manifest
