"""Segments are published complete and never changed, and a changed byte is detected in a named file."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path
from random import Random

import msgspec
import pytest

from domain.shared.log import Shard
from eventstore.sealed import seal as sealing
from eventstore.sealed.manifest import Content, Manifest, Segment, SegmentError, decode, encode
from eventstore.sealed.seal import SealPlan, find_due_segments, seal
from eventstore.sealed.store import MANIFEST, Store
from projections.replays.sealed_fold import fold_segments
from projections.tally import TALLY
from services.resources import Sealing
from services.wakeups import Wakeups
from services.workers.jobs import Context, seal_due
from tests.integration.projections.test_advance import SHARD, cast_votes
from tests.support.sealed_history import seal_all
from tests.support.stage import Log

FLIPS = 40


@pytest.fixture
async def store(pool: Log, tmp_path: Path) -> Store:
    """Three segments of ten votes."""
    await cast_votes(pool, 20, 10)
    store = Store(tmp_path)
    await seal_all(pool, store, 10)
    return store


async def folds(store: Store) -> bool:
    return [row[1:] for row in await fold_segments(store, TALLY)] == [(7, 20, 10)]


def paths(store: Store, number: int = 1) -> tuple[Path, Path]:
    segment = store.segments(SHARD)[number]
    return store.path(segment), store.path(segment, MANIFEST)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def offsets(size: int) -> list[int]:
    """The first and last two, and random ones between them."""
    return sorted({0, 1, size - 2, size - 1, *(Random(size).randrange(size) for _ in range(FLIPS))})


async def test_only_their_user_may_read_the_files(store: Store) -> None:
    paths = [path for path in store.folder.rglob("*") if not path.name.startswith(".")]
    assert any(path.is_file() for path in paths)
    assert all(path.stat().st_mode & 0o077 == 0 for path in paths)


async def test_file_names_contain_shard_and_range(store: Store) -> None:
    names = sorted(str(path.relative_to(store.folder)) for path in store.folder.rglob("*.*"))
    assert names[:2] == ["1/000000000001-000000000010.json", "1/000000000001-000000000010.parquet"]
    assert len(names) == 6
    assert await folds(store)


@pytest.mark.parametrize("which", [0, 1])
async def test_a_flipped_bit_is_rejected_and_its_file_is_named(store: Store, which: int) -> None:
    path, manifest = paths(store)
    damaged = (path, manifest)[which]
    intact = damaged.read_bytes()
    for offset in offsets(len(intact)):
        for bit in (0, 5):  # bit 5 changes the case of a letter
            flipped = bytearray(intact)
            flipped[offset] ^= 1 << bit
            damaged.write_bytes(flipped)
            with pytest.raises(SegmentError, match=damaged.stem):
                await fold_segments(Store(store.folder), TALLY)
    damaged.write_bytes(intact)
    assert await folds(Store(store.folder))


async def test_a_file_that_changes_after_a_check_is_checked_again(store: Store) -> None:
    assert await folds(store)
    path, _ = paths(store)
    flipped = bytearray(path.read_bytes())
    flipped[9] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(SegmentError, match="is damaged"):
        await fold_segments(store, TALLY)


@pytest.mark.parametrize("number", [0, 1])
async def test_a_gap_is_refused(store: Store, number: int) -> None:
    for path in paths(store, number):
        path.unlink()
    with pytest.raises(SegmentError, match="there is a gap before it"):
        await fold_segments(store, TALLY)


async def test_an_overlap_is_refused(store: Store) -> None:
    for path in paths(store, 1):
        path.with_stem("000000000005-000000000020").write_bytes(path.read_bytes())
    with pytest.raises(
        SegmentError,
        match=r"000000000005-000000000020.parquet should begin at position 11: there is an overlap",
    ):
        await fold_segments(store, TALLY)


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("which", [0, 1])
async def test_a_missing_file_or_manifest_is_named(store: Store, number: int, which: int) -> None:
    both = paths(store, number)
    both[which].unlink()
    with pytest.raises(SegmentError, match=both[1 - which].name):
        await fold_segments(store, TALLY)


async def test_a_foreign_file_is_refused(store: Store) -> None:
    (store.folder / "1" / "notes.txt").write_text("")
    with pytest.raises(SegmentError, match=r"notes.txt is not a segment"):
        await fold_segments(store, TALLY)


async def test_a_segment_under_the_name_of_another_is_refused(store: Store) -> None:
    (one, one_manifest), (other, other_manifest) = paths(store, 0), paths(store, 1)
    one.write_bytes(other.read_bytes())
    one_manifest.write_bytes(other_manifest.read_bytes())
    with pytest.raises(SegmentError, match="is the manifest of another segment"):
        await fold_segments(store, TALLY)


async def test_an_unknown_format_is_refused(store: Store) -> None:
    _, manifest = paths(store)
    found = decode(manifest.read_bytes(), "")
    manifest.write_bytes(encode(msgspec.structs.replace(found, format=2)))
    with pytest.raises(SegmentError, match=rf"{manifest.name} is of format 2"):
        await fold_segments(store, TALLY)


async def test_a_manifest_has_the_digest_and_the_range_of_its_file(store: Store) -> None:
    path, manifest = paths(store)
    found = msgspec.json.decode(manifest.read_bytes(), type=Manifest)
    assert found.sha256 == sha256(path.read_bytes()).hexdigest()
    assert found.segment == Segment(SHARD, 11, 20)


@pytest.mark.parametrize("left", ["file", "temporary"])
async def test_interrupted_sealing_is_repeated(pool: Log, tmp_path: Path, left: str) -> None:
    await cast_votes(pool, 20, 10)
    store = Store(tmp_path)
    await seal_all(pool, store, 10)
    path, manifest = paths(store, 2)
    manifest.unlink()
    if left == "temporary":
        (tmp_path / "1" / ".sealing-dead").mkdir()
        path.rename(tmp_path / "1" / ".sealing-dead" / "rows.parquet")
    else:
        path.write_bytes(b"half of it")
    assert await seal_all(pool, store, 10) == [Segment(SHARD, 21, 30)]
    assert [path for path in (tmp_path / "1").iterdir() if path.name.startswith(".")] == []
    assert await folds(store)


async def test_a_manifest_lost_from_the_middle_is_not_repaired(store: Store, pool: Log) -> None:
    path, manifest = paths(store, 1)
    manifest.unlink()
    await cast_votes(pool, 10)
    with pytest.raises(SegmentError, match=rf"{path.name} has no .json beside it"):
        await seal_all(pool, store, 10)
    assert path.exists()


async def test_concurrent_sealing_makes_each_segment_once(pool: Log, tmp_path: Path) -> None:
    await cast_votes(pool, 60, 30)
    stores = [Store(tmp_path) for _ in range(4)]

    async def work(store: Store) -> int:
        sealed = 0
        for segment in await find_due_segments(pool, store, SealPlan(10, 0)):
            sealed += await seal(pool, store, segment) is not None
        return sealed

    sealed = sum(await asyncio.gather(*(work(store) for store in stores)))
    sealed += await work(stores[0])  # segments that were skipped because another task held the lock
    assert sealed == len(stores[0].segments()) == 9
    assert [row[1:] for row in await fold_segments(stores[0], TALLY)] == [(7, 60, 30)]


async def test_a_segment_is_never_replaced(store: Store, pool: Log, tmp_path: Path) -> None:
    path, manifest = paths(store)
    before = (path.read_bytes(), manifest.read_bytes(), path.stat().st_mtime_ns)
    segment = store.segments(SHARD)[1]
    assert await seal(pool, store, segment) is None
    with store.staging_folder(segment) as folder:
        (folder / "rows.parquet").write_bytes(b"other bytes")
        with pytest.raises(FileExistsError):
            store.publish(folder / "rows.parquet", store.check(segment))
    assert (path.read_bytes(), manifest.read_bytes(), path.stat().st_mtime_ns) == before


async def test_a_file_that_differs_from_postgres_is_not_published(
    pool: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cast_votes(pool, 10)
    monkeypatch.setattr(sealing, "EXPORT_ROWS", sealing.EXPORT_ROWS.replace("origin", "'other' AS origin"))
    with pytest.raises(SegmentError, match="Postgres holds"):
        await seal_all(pool, Store(tmp_path), 10)
    assert files(tmp_path) == []


async def test_a_range_that_postgres_does_not_have_is_not_sealed(pool: Log, tmp_path: Path) -> None:
    await cast_votes(pool, 10)
    with pytest.raises(SegmentError, match="Postgres has 10 of its 20 rows"):
        await seal(pool, Store(tmp_path), Segment(SHARD, 1, 20))


async def test_the_job_seals_due_segments_and_does_nothing_without_a_folder(
    pool: Log, tmp_path: Path
) -> None:
    await cast_votes(pool, 25)
    store, wakeups = Store(tmp_path), Wakeups(None)
    assert await seal_due(Context(pool=pool, wakeups=wakeups)) == 0
    ctx = Context(pool=pool, wakeups=wakeups, sealing=Sealing(store, SealPlan(10, 5), 1))
    assert [await seal_due(ctx) for _ in range(3)] == [1, 1, 0]
    assert store.last_position(SHARD) == 20


async def test_the_job_survives_a_damaged_folder(pool: Log, tmp_path: Path) -> None:
    await cast_votes(pool, 25)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "notes.txt").write_text("")
    ctx = Context(pool=pool, wakeups=Wakeups(None), sealing=Sealing(Store(tmp_path), SealPlan(10, 5), 1))
    assert await seal_due(ctx) == 0


@pytest.mark.parametrize(
    "name", ["", "1", "000000000001", "000000000002-000000000001", "0000000000001-000000000002"]
)
def test_other_names_are_not_parsed_as_segments(name: str) -> None:
    from eventstore.sealed.manifest import parse_segment

    assert parse_segment("1", name) is None


def test_a_manifest_is_accepted_only_in_canonical_form() -> None:
    manifest = Manifest(1, Shard(1), Content(1, 1, 1, "0"), {"position": "BIGINT"}, "0")
    text = encode(manifest)
    assert encode(decode(text, "it")) == text
    for other in (text + b"\n", text.replace(b":", b": ", 1), b"", b"{}", b"\xff"):
        with pytest.raises(SegmentError, match="it is damaged"):
            decode(other, "it")
