"""The archive: a zip file with a member per table, as COPY writes it, and a manifest of positions and digests."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct

FORMAT = 1
MANIFEST, SECRET = "manifest.json", "secret"
CHUNK_BYTES = 1 << 20
_COMPRESSION_LEVEL = (
    1  # text of COPY shrinks to a fifth; higher levels take three times as long for a tenth less
)


class ArchiveError(Exception):
    """The file is not a backup, or is damaged."""


class TableCopy(Struct, frozen=True):
    """``bytes`` and ``sha256`` are those of the text of COPY, before compression."""

    name: str
    columns: list[str]
    rows: int
    bytes: int
    sha256: str


class BackupManifest(Struct, frozen=True, kw_only=True):
    """``heads``: the last position of each shard. ``secret``: a digest of SHIPLOG_SECRET, to recognize it."""

    format: int
    release: str
    made_at: str
    migrations: list[str]
    heads: dict[int, int]
    secret: str
    tables: list[TableCopy]

    @property
    def events(self) -> int:
        return sum(self.heads.values())

    @property
    def bytes(self) -> int:
        return sum(table.bytes for table in self.tables)


class TableWriter:
    """Takes the chunks of one table's COPY."""

    def __init__(self, member: IO[bytes]) -> None:
        self._member, self._digest, self.bytes = member, sha256(), 0

    async def write(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self.bytes += len(chunk)
        self._member.write(chunk)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


@contextmanager
def create_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A new file, readable by its owner alone. It appears under its name when it is complete and on disk."""
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            with zipfile.ZipFile(
                file, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION_LEVEL
            ) as archive:
                yield archive
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)  # never replaces a file
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def open_table(archive: zipfile.ZipFile, name: str) -> Iterator[TableWriter]:
    with archive.open(_member(name), "w", force_zip64=True) as member:
        yield TableWriter(member)


@contextmanager
def open_archive(path: Path) -> Iterator[tuple[zipfile.ZipFile, BackupManifest]]:
    """Raises ArchiveError for a file that is no backup, is damaged, or has a newer format."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = msgspec.json.decode(archive.read(MANIFEST), type=BackupManifest)
            if manifest.format > FORMAT:
                raise ArchiveError(
                    f"{path} was written by release {manifest.release}. Restore it with that release."
                )
            yield archive, manifest
    except (zipfile.BadZipFile, KeyError, EOFError, msgspec.MsgspecError) as error:
        raise ArchiveError(f"{path} is not a backup of Shiplog, or is damaged: {error}.") from None


def read_table(archive: zipfile.ZipFile, table: TableCopy) -> Iterator[bytes]:
    """The chunks of a table. Raises ArchiveError at the end if they are not those that were written."""
    digest = sha256()
    try:
        with archive.open(_member(table.name)) as member:
            while chunk := member.read(CHUNK_BYTES):
                digest.update(chunk)
                yield chunk
    except (zipfile.BadZipFile, KeyError, EOFError, OSError, ValueError) as error:
        raise ArchiveError(f"The backup is damaged in the table {table.name}: {error}.") from None
    if digest.hexdigest() != table.sha256:
        raise ArchiveError(f"The backup is damaged: the digest of the table {table.name} is another.")


def check_archive(archive: zipfile.ZipFile, manifest: BackupManifest) -> None:
    """Read everything and compare the digests. Raises ArchiveError."""
    for table in manifest.tables:
        for _ in read_table(archive, table):
            pass


def read_secret(archive: zipfile.ZipFile) -> str | None:
    return archive.read(SECRET).decode() if SECRET in archive.namelist() else None


def fingerprint(secret: bytes) -> str:
    """Recognizes a secret without giving it away."""
    return sha256(b"shiplog backup " + secret).hexdigest()[:16]


def _member(table: str) -> str:
    return f"tables/{table}.copy"
