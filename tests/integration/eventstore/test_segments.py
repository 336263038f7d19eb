"""Segments: whole or not at all, never changed, and refused by name when a byte of them is."""

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
from eventstore.sealed.seal import Plan, due, seal
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
    return [row[1:] for row in await fold_segments(store, TALLY)] == [(7, 20, 10, 30)]


def paths(store: Store, number: int = 1) -> tuple[Path, Path]:
    segment = store.segments(SHARD)[number]
    return store.path(segment), store.path(segment, MANIFEST)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def offsets(size: int) -> list[int]:
    """Both ends, and some between them."""
    return sorted({0, 1, size - 2, size - 1, *(Random(size).randrange(size) for _ in range(FLIPS))})


async def test_names_tell_shard_and_range(store: Store) -> None:
    named = sorted(str(path.relative_to(store.folder)) for path in store.folder.rglob("*.*"))
    assert named[:2] == ["1/000000000001-000000000010.json", "1/000000000001-000000000010.parquet"]
    assert len(named) == 6
    assert await folds(store)


@pytest.mark.parametrize("which", [0, 1])
async def test_one_flipped_byte_is_refused_and_its_file_named(store: Store, which: int) -> None:
    path, manifest = paths(store)
    damaged = (path, manifest)[which]
    sound = damaged.read_bytes()
    for offset in offsets(len(sound)):
        for bit in (0, 5):  # 5 turns a capital into a small letter
            flipped = bytearray(sound)
            flipped[offset] ^= 1 << bit
            damaged.write_bytes(flipped)
            with pytest.raises(SegmentError, match=damaged.stem):
                await fold_segments(Store(store.folder), TALLY)
    damaged.write_bytes(sound)
    assert await folds(Store(store.folder))


async def test_a_file_that_changes_after_its_check_is_checked_again(store: Store) -> None:
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
    with pytest.raises(SegmentError, match="something is missing"):
        await fold_segments(store, TALLY)


async def test_an_overlap_is_refused(store: Store) -> None:
    for path in paths(store, 1):
        path.with_stem("000000000005-000000000020").write_bytes(path.read_bytes())
    with pytest.raises(SegmentError, match=r"000000000005-000000000020.parquet something is there twice"):
        await fold_segments(store, TALLY)


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("which", [0, 1])
async def test_a_file_or_a_manifest_that_is_missing_is_named(store: Store, number: int, which: int) -> None:
    both = paths(store, number)
    both[which].unlink()
    with pytest.raises(SegmentError, match=both[1 - which].name):
        await fold_segments(store, TALLY)


async def test_a_stranger_is_refused(store: Store) -> None:
    (store.folder / "1" / "notes.txt").write_text("")
    with pytest.raises(SegmentError, match=r"notes.txt is no segment"):
        await fold_segments(store, TALLY)


async def test_a_segment_in_anothers_place_is_refused(store: Store) -> None:
    (one, one_manifest), (other, other_manifest) = paths(store, 0), paths(store, 1)
    one.write_bytes(other.read_bytes())
    one_manifest.write_bytes(other_manifest.read_bytes())
    with pytest.raises(SegmentError, match="is the manifest of another segment"):
        await fold_segments(store, TALLY)


async def test_a_format_we_do_not_know_is_refused(store: Store) -> None:
    _, manifest = paths(store)
    found = decode(manifest.read_bytes(), "")
    manifest.write_bytes(encode(msgspec.structs.replace(found, format=2)))
    with pytest.raises(SegmentError, match=rf"{manifest.name} is of format 2"):
        await fold_segments(store, TALLY)


async def test_a_manifest_says_what_the_file_is(store: Store) -> None:
    path, manifest = paths(store)
    found = msgspec.json.decode(manifest.read_bytes(), type=Manifest)
    assert found.sha256 == sha256(path.read_bytes()).hexdigest()
    assert found.segment == Segment(SHARD, 11, 20)


@pytest.mark.parametrize("made", ["file", "temporary"])
async def test_sealing_that_was_interrupted_is_done_again(pool: Log, tmp_path: Path, made: str) -> None:
    await cast_votes(pool, 20, 10)
    store = Store(tmp_path)
    await seal_all(pool, store, 10)
    path, manifest = paths(store, 2)
    manifest.unlink()
    if made == "temporary":
        (tmp_path / "1" / ".sealing-dead").mkdir()
        path.rename(tmp_path / "1" / ".sealing-dead" / "rows.parquet")
    else:
        path.write_bytes(b"half of it")
    assert await seal_all(pool, store, 10) == [Segment(SHARD, 21, 30)]
    assert [path for path in (tmp_path / "1").iterdir() if path.name.startswith(".")] == []
    assert await folds(store)


async def test_a_lost_manifest_is_no_interruption(store: Store, pool: Log) -> None:
    path, manifest = paths(store, 1)
    manifest.unlink()
    await cast_votes(pool, 10)
    with pytest.raises(SegmentError, match=rf"{path.name} is alone"):
        await seal_all(pool, store, 10)
    assert path.exists()


async def test_two_sealers_at_once_make_each_segment_once(pool: Log, tmp_path: Path) -> None:
    await cast_votes(pool, 60, 30)
    stores = [Store(tmp_path) for _ in range(4)]

    async def work(store: Store) -> int:
        made = 0
        for segment in await due(pool, store, Plan(10, 0)):
            made += await seal(pool, store, segment) is not None
        return made

    made = sum(await asyncio.gather(*(work(store) for store in stores)))
    made += await work(stores[0])  # what one passed over because another was at it
    assert made == len(stores[0].segments()) == 9
    assert [row[1:] for row in await fold_segments(stores[0], TALLY)] == [(7, 60, 30, 90)]


async def test_a_segment_is_never_written_over(store: Store, pool: Log, tmp_path: Path) -> None:
    path, manifest = paths(store)
    before = (path.read_bytes(), manifest.read_bytes(), path.stat().st_mtime_ns)
    segment = store.segments(SHARD)[1]
    assert await seal(pool, store, segment) is None
    with store.making(segment) as folder:
        (folder / "rows.parquet").write_bytes(b"other bytes")
        with pytest.raises(FileExistsError):
            store.put(folder / "rows.parquet", store.check(segment))
    assert (path.read_bytes(), manifest.read_bytes(), path.stat().st_mtime_ns) == before


async def test_a_file_that_is_not_what_postgres_has_is_not_published(
    pool: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cast_votes(pool, 10)
    monkeypatch.setattr(sealing, "EXPORT", sealing.EXPORT.replace("origin", "'other' AS origin"))
    with pytest.raises(SegmentError, match="Postgres holds"):
        await seal_all(pool, Store(tmp_path), 10)
    assert files(tmp_path) == []


async def test_rows_that_postgres_lacks_are_not_sealed(pool: Log, tmp_path: Path) -> None:
    await cast_votes(pool, 10)
    with pytest.raises(SegmentError, match="Postgres has 10 of its 20 rows"):
        await seal(pool, Store(tmp_path), Segment(SHARD, 1, 20))


async def test_the_job_seals_what_is_due_and_nothing_without_a_folder(pool: Log, tmp_path: Path) -> None:
    await cast_votes(pool, 25)
    store, wakeups = Store(tmp_path), Wakeups(None)
    assert await seal_due(Context(pool=pool, wakeups=wakeups)) == 0
    ctx = Context(pool=pool, wakeups=wakeups, sealing=Sealing(store, Plan(10, 5), 1))
    assert [await seal_due(ctx) for _ in range(3)] == [1, 1, 0]
    assert store.last(SHARD) == 20


async def test_the_job_says_that_a_folder_is_damaged_and_goes_on(pool: Log, tmp_path: Path) -> None:
    await cast_votes(pool, 25)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "notes.txt").write_text("")
    ctx = Context(pool=pool, wakeups=Wakeups(None), sealing=Sealing(Store(tmp_path), Plan(10, 5), 1))
    assert await seal_due(ctx) == 0


@pytest.mark.parametrize(
    "name", ["", "1", "000000000001", "000000000002-000000000001", "0000000000001-000000000002"]
)
def test_what_no_segment_is_named_is_none(name: str) -> None:
    from eventstore.sealed.manifest import parse_segment

    assert parse_segment("1", name) is None


def test_a_manifest_has_one_spelling() -> None:
    manifest = Manifest(1, Shard(1), Content(1, 1, 1, "0"), {"position": "BIGINT"}, "0")
    text = encode(manifest)
    assert encode(decode(text, "it")) == text
    for other in (text + b"\n", text.replace(b":", b": ", 1), b"", b"{}", b"\xff"):
        with pytest.raises(SegmentError, match="it is damaged"):
            decode(other, "it")
