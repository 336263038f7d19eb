"""DuckDB folds sealed history to the same rows as Postgres folds the log, and differences are reported."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from domain.shared.log import Shard
from eventstore.heads import read_heads
from eventstore.sealed.manifest import SegmentError
from eventstore.sealed.seal import SealPlan, find_due_segments
from eventstore.sealed.store import Store
from projections.engine.projection import RANGE, Projection
from projections.engine.registry import PROJECTIONS
from projections.replays.sealed_fold import fold_segments
from projections.replays.sealed_verify import verify_segments
from projections.tally import TALLY
from services.settings import Settings
from tests.integration.projections.test_advance import cast_votes
from tests.support.sealed_history import seal_all, write_history
from tests.support.stage import Log


async def in_postgres(log: Log, projection: Projection, shard: int, start: int, upto: int) -> list[object]:
    listed = ", ".join(("shard", *projection.columns))
    query = f"WITH {RANGE} SELECT {listed} FROM ({projection.fold_select}) AS folded"
    return [plain(tuple(row)) for row in await log.fetch(query, shard, start, upto)]


def plain(row: tuple[object, ...]) -> object:
    """Values as both clients give them; JSON without regard to its spaces."""
    return tuple(_plain(value) for value in row)


def _plain(value: object) -> object:
    if isinstance(value, bytes) or (isinstance(value, str) and value.startswith("{")):
        try:
            return json.dumps(json.loads(value), sort_keys=True)
        except ValueError:
            return value
    if isinstance(value, UUID):
        return UUID(int=value.int)
    return value.timestamp() if isinstance(value, datetime) else value


@pytest.mark.parametrize("seed", range(3))
async def test_every_read_model_is_the_same_in_both_engines(pool: Log, tmp_path: Path, seed: int) -> None:
    await write_history(pool, seed)
    store = Store(tmp_path)
    await seal_all(pool, store)
    for projection in PROJECTIONS:
        rows = 0
        for shard, head in (await read_heads(pool)).items():
            for start, upto in [(0, head), (0, head // 2), (head // 3, head - 1)]:
                if not start <= upto or not upto:
                    continue
                expected = await in_postgres(pool, projection, shard, start, upto)
                folded = await fold_segments(store, projection, Shard(shard), start, upto)
                assert Counter(map(plain, folded)) == Counter(expected), projection.name
                rows += len(expected)
        assert rows, f"{projection.name} has no rows, so nothing was compared"


async def test_all_shards_together_are_the_sum_of_each(pool: Log, tmp_path: Path) -> None:
    await write_history(pool, 7)
    store = Store(tmp_path)
    await seal_all(pool, store)
    heads = await read_heads(pool)
    separately = [row for shard in heads for row in await fold_segments(store, TALLY, Shard(shard))]
    assert Counter(await fold_segments(store, TALLY)) == Counter(separately)


async def test_positions_that_are_not_sealed_raise(pool: Log, tmp_path: Path) -> None:
    await cast_votes(pool, 10)
    store = Store(tmp_path)
    assert await fold_segments(store, TALLY) == []
    await seal_all(pool, store)
    with pytest.raises(SegmentError, match="Shard 1 is sealed up to position 10, not up to 11"):
        await fold_segments(store, TALLY, Shard(1), 0, 11)
    with pytest.raises(SegmentError, match="Shard 2 is sealed up to position 0"):
        await fold_segments(store, TALLY, Shard(2), 0, 1)


async def test_only_full_segments_far_enough_behind_the_head_are_due(pool: Log, tmp_path: Path) -> None:
    await cast_votes(pool, 25)
    store = Store(tmp_path)
    assert [str(each) for each in await find_due_segments(pool, store, SealPlan(10, 6))] == [
        "1/000000000001-000000000010"
    ]
    assert [each.last for each in await find_due_segments(pool, store, SealPlan(10, 5))] == [10, 20]
    assert [each.last for each in await find_due_segments(pool, store, SealPlan(10, 99, short=True))] == [
        10,
        20,
        25,
    ]
    await seal_all(pool, store, 10)
    await cast_votes(pool, 20)
    assert [(each.first, each.last) for each in await find_due_segments(pool, store, SealPlan(10, 5))] == [
        (26, 30),
        (31, 40),
    ]


async def test_verify_finds_no_difference_in_a_sealed_log(
    settings: Settings, pool: Log, tmp_path: Path
) -> None:
    await write_history(pool, 11)
    store = Store(tmp_path)
    await seal_all(pool, store)
    verified = await verify_segments(pool, store, PROJECTIONS)
    assert [each.projection for each in verified] == ["segments", *(each.name for each in PROJECTIONS)]
    assert [each.rows for each in verified] == [[] for _ in verified]


@pytest.mark.parametrize(
    ("change", "drifting"),
    [
        ("UPDATE events SET choice = 'skip' WHERE shard = 1 AND position = 3", {"segments", "tally"}),
        ("UPDATE events SET origin = 'k2' WHERE shard = 1 AND position = 3", {"segments"}),
        ("DELETE FROM events WHERE shard = 1 AND position = 3", {"segments", "tally"}),
    ],
)
async def test_verify_reports_a_log_that_was_changed_after_sealing(
    settings: Settings, pool: Log, tmp_path: Path, change: str, drifting: set[str]
) -> None:
    await cast_votes(pool, 5)
    store = Store(tmp_path)
    (segment,) = await seal_all(pool, store)
    owner = await asyncpg.connect(settings.database_url)
    await owner.execute(change)
    await owner.close()
    verified = await verify_segments(pool, store, [TALLY])
    assert {each.projection for each in verified if each.drift} == drifting
    assert str(store.path(segment)) in verified[0].rows[0]
    assert all(row.startswith("says ") for row in verified[1].rows)
