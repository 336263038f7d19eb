"""The folder of segments: what lies in it is what is sealed. Files come whole, and are never changed."""

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
    """A folder with a folder per shard. Names that begin with a dot are nobody's business but the sealer's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._checked: dict[tuple[Path, int, int], str] = {}

    def path(self, segment: Segment, ending: str = FILE) -> Path:
        return self.folder / str(segment.shard) / (segment.name + ending)

    def segments(self, shard: Shard | None = None) -> list[Segment]:
        """What is sealed, in order. Raises SegmentError for a gap, an overlap, a stranger, a file without manifest."""
        # Between a file and its manifest lies a moment: whoever looked then looks again.
        lone = self._lone(shard) and self._lone(shard)
        if lone:
            raise SegmentError(
                f"{lone[0]} is alone: its {_other(lone[0])} is missing. "
                "If sealing was interrupted, `shiplog seal` finishes it."
            )
        found = sorted(segment for path, segment in self._files(shard) if path.suffix == FILE)
        _refuse_holes(found)
        return found

    def last(self, shard: Shard) -> int:
        """The last sealed position of a shard, or 0; what is unfinished does not count."""
        manifests = (segment for path, segment in self._files(shard) if path.suffix == MANIFEST)
        return max((segment.last for segment in manifests), default=0)

    def check(self, segment: Segment) -> Manifest:
        """The manifest, once the file's bytes are what it says. Raises SegmentError."""
        path = self.path(segment)
        named = self.path(segment, MANIFEST)
        manifest = decode(named.read_bytes(), str(named))
        if manifest.segment != segment or manifest.content.count != segment.count:
            raise SegmentError(f"{named} is the manifest of another segment, {manifest.segment}.")
        if self._sha256(path) != manifest.sha256:
            raise SegmentError(
                f"{path} is damaged: its bytes are not those that {named.name} was written for."
            )
        return manifest

    def review(self) -> tuple[list[Manifest], list[str]]:
        """Check everything: the manifests of what is sound, and what is wrong with the rest."""
        sound, wrong = [], []
        try:
            for segment in self.segments():
                try:
                    sound.append(self.check(segment))
                except SegmentError as error:
                    wrong.append(str(error))
        except SegmentError as error:
            wrong.append(str(error))
        return sound, wrong

    @contextmanager
    def making(self, segment: Segment) -> Iterator[Path]:
        """A folder to make the segment's file in, gone afterwards."""
        shard = self.folder / str(segment.shard)
        shard.mkdir(parents=True, exist_ok=True)
        folder = Path(mkdtemp(prefix=_UNFINISHED, dir=shard))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def put(self, made: Path, manifest: Manifest) -> None:
        """Publish a made file, then its manifest, neither over another. Raises FileExistsError."""
        written = made.with_suffix(MANIFEST)
        written.write_bytes(encode(manifest))
        for path in (made, written):
            _sync(path)
        shard = self.path(manifest.segment).parent
        _sync(self.folder)
        os.link(made, self.path(manifest.segment))
        _sync(shard)  # the file's name is safe before the manifest's is
        os.link(written, self.path(manifest.segment, MANIFEST))
        _sync(shard)

    def tidy(self, shard: Shard) -> None:
        """Remove what sealers that died have left, all of it after the last manifest. Only for who holds the shard's lock."""
        for path in (self.folder / str(shard)).glob(f"{_UNFINISHED}*"):
            shutil.rmtree(path, ignore_errors=True)
        last, lone = self.last(shard), self._lone(shard)
        for path, segment in list(self._files(shard)):
            if path in lone and segment.first > last:
                path.unlink()

    def sha256(self, path: Path) -> str:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()

    def _sha256(self, path: Path) -> str:
        """As long as size and time of the file stay, its digest is taken once."""
        seen = path.stat()
        key = (path, seen.st_size, seen.st_mtime_ns)
        if key not in self._checked:
            self._checked[key] = self.sha256(path)
        return self._checked[key]

    def _lone(self, shard: Shard | None) -> list[Path]:
        """Files without manifest, and manifests without file."""
        found = {path for path, _ in self._files(shard)}
        return sorted(path for path in found if path.with_suffix(_other(path)) not in found)

    def _files(self, shard: Shard | None) -> Iterable[tuple[Path, Segment]]:
        for path in sorted(self.folder.glob(f"{'[!.]*' if shard is None else shard}/[!.]*")):
            segment = parse_segment(path.parent.name, path.stem)
            if segment is None or path.suffix not in (FILE, MANIFEST):
                raise SegmentError(f"{path} is no segment. Nothing else belongs in {self.folder}.")
            yield path, segment


def _other(path: Path) -> str:
    return MANIFEST if path.suffix == FILE else FILE


def _refuse_holes(segments: Sequence[Segment]) -> None:
    last: dict[Shard, int] = {}
    for segment in segments:
        due = last.get(segment.shard, 0) + 1
        if segment.first != due:
            what = "is missing" if segment.first > due else "is there twice"
            raise SegmentError(f"Before {segment}{FILE} something {what}: it should begin at position {due}.")
        last[segment.shard] = segment.last


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
