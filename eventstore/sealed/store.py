"""The folder of segments, which defines what is sealed. Files are published complete and never changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from tempfile import mkdtemp

from domain.shared.log import Shard
from eventstore.sealed.manifest import Manifest, Segment, SegmentError, decode, encode, parse_segment

FILE, MANIFEST = ".parquet", ".json"
_UNFINISHED = ".sealing-"


class Store:
    """A folder with one folder per shard. Names that begin with a dot are unfinished work of a sealing process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._digests: dict[tuple[Path, int, int], str] = {}

    def path(self, segment: Segment, ending: str = FILE) -> Path:
        return self.folder / str(segment.shard) / (segment.name + ending)

    def segments(self, shard: Shard | None = None) -> list[Segment]:
        """The sealed segments in order. Raises SegmentError for a gap, an overlap, a foreign file or a missing file."""
        # A file is published just before its manifest, so an unpaired one is checked a second time.
        unpaired = self._unpaired(shard) and self._unpaired(shard)
        if unpaired:
            raise SegmentError(
                f"{unpaired[0]} has no {_other(unpaired[0])} beside it. "
                "If sealing was interrupted, `shiplog seal` finishes it."
            )
        found = sorted(segment for path, segment in self._files(shard) if path.suffix == FILE)
        _check_contiguous(found)
        return found

    def last_position(self, shard: Shard) -> int:
        """The last sealed position of a shard, or 0. Files without a manifest do not count."""
        manifests = (segment for path, segment in self._files(shard) if path.suffix == MANIFEST)
        return max((segment.last for segment in manifests), default=0)

    def check(self, segment: Segment) -> Manifest:
        """The manifest, after a check of the file's bytes. Raises SegmentError."""
        path = self.path(segment)
        manifest_path = self.path(segment, MANIFEST)
        manifest = decode(manifest_path.read_bytes(), str(manifest_path))
        if manifest.segment != segment or manifest.content.count != segment.count:
            raise SegmentError(f"{manifest_path} is the manifest of another segment, {manifest.segment}.")
        if self._sha256(path) != manifest.sha256:
            raise SegmentError(f"{path} is damaged: its digest is not the one in {manifest_path.name}.")
        return manifest

    def check_all(self) -> tuple[list[Manifest], list[str]]:
        """Check every segment. Returns the manifests of the intact ones, and the errors of the others."""
        intact, errors = [], []
        try:
            for segment in self.segments():
                try:
                    intact.append(self.check(segment))
                except SegmentError as error:
                    errors.append(str(error))
        except SegmentError as error:
            errors.append(str(error))
        return intact, errors

    @contextmanager
    def staging_folder(self, segment: Segment) -> Iterator[Path]:
        """A folder to write the segment's file in, removed afterwards."""
        shard = self.folder / str(segment.shard)
        for created in (self.folder, shard):
            created.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=_UNFINISHED, dir=shard))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, parquet: Path, manifest: Manifest) -> None:
        """Publish a file, then its manifest. Raises FileExistsError instead of replacing one."""
        staged_manifest = parquet.with_suffix(MANIFEST)
        staged_manifest.write_bytes(encode(manifest))
        for path in (parquet, staged_manifest):
            path.chmod(0o600)  # pseudonymous, but not for every user of the machine
            _sync(path)
        shard = self.path(manifest.segment).parent
        _sync(self.folder)
        os.link(parquet, self.path(manifest.segment))
        _sync(shard)  # the file's name is on disk before the manifest's
        os.link(staged_manifest, self.path(manifest.segment, MANIFEST))
        _sync(shard)

    def remove_unfinished(self, shard: Shard) -> None:
        """Remove what interrupted sealing left after the last manifest. The caller holds the shard's seal lock."""
        for path in (self.folder / str(shard)).glob(f"{_UNFINISHED}*"):
            shutil.rmtree(path, ignore_errors=True)
        last, unpaired = self.last_position(shard), self._unpaired(shard)
        for path, segment in list(self._files(shard)):
            if path in unpaired and segment.first > last:
                path.unlink()

    def sha256(self, path: Path) -> str:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()

    def _sha256(self, path: Path) -> str:
        """The digest, cached as long as the file keeps its size and modification time."""
        stat = path.stat()
        key = (path, stat.st_size, stat.st_mtime_ns)
        if key not in self._digests:
            self._digests[key] = self.sha256(path)
        return self._digests[key]

    def _unpaired(self, shard: Shard | None) -> list[Path]:
        """Files without a manifest, and manifests without a file."""
        found = {path for path, _ in self._files(shard)}
        return sorted(path for path in found if path.with_suffix(_other(path)) not in found)

    def _files(self, shard: Shard | None) -> Iterable[tuple[Path, Segment]]:
        for path in sorted(self.folder.glob(f"{'[!.]*' if shard is None else shard}/[!.]*")):
            segment = parse_segment(path.parent.name, path.stem)
            if segment is None or path.suffix not in (FILE, MANIFEST):
                raise SegmentError(f"{path} is not a segment. Nothing else belongs in {self.folder}.")
            yield path, segment


def _other(path: Path) -> str:
    return MANIFEST if path.suffix == FILE else FILE


def _check_contiguous(segments: Sequence[Segment]) -> None:
    last: dict[Shard, int] = {}
    for segment in segments:
        expected = last.get(segment.shard, 0) + 1
        if segment.first != expected:
            problem = "a gap before it" if segment.first > expected else "an overlap with the one before"
            raise SegmentError(f"{segment}{FILE} should begin at position {expected}: there is {problem}.")
        last[segment.shard] = segment.last


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
