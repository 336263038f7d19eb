"""Replay from sealed history: every read model is equal, and a damaged segment pauses the replay, not the live model."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventstore.sealed.manifest import SegmentError
from eventstore.sealed.store import Store
from projections.engine.projection import Projection
from projections.engine.registry import PROJECTIONS
from projections.replays.jobs import begin, read_replay, resume
from projections.replays.run import run
from projections.replays.sealed_replay import NoSegments
from projections.replays.verify import verify
from projections.tally import TALLY
from tests.integration.projections.test_replay import cast_votes
from tests.support.sealed_history import seal_all, write_history
from tests.support.stage import Log, catch_up

FOLDED = [projection for projection in PROJECTIONS if projection.view is None]


@pytest.mark.parametrize("projection", FOLDED, ids=lambda each: each.name)
async def test_segments_and_log_together_rebuild_the_same_read_model(
    pool: Log, tmp_path: Path, projection: Projection
) -> None:
    await write_history(pool, 3)
    store = Store(tmp_path)
    sealed = await seal_all(pool, store)
    await cast_votes(pool, 30)
    await catch_up(pool)
    done = await run(pool, PROJECTIONS, await begin(pool, projection, source="segments"), store)
    assert (done.state, done.drift) == ("cut-over", 0), done.rows
    assert (await verify(pool, projection)).drift == 0
    assert done.total == done.done >= sum(segment.count for segment in sealed)


async def test_a_replay_from_segments_does_not_read_the_log(pool: Log, tmp_path: Path) -> None:
    """The whole shard is one range; ranges of Postgres are shorter."""
    await write_history(pool, 3)
    store = Store(tmp_path)
    await seal_all(pool, store)
    await catch_up(pool)
    head = await pool.fetchval("SELECT position FROM heads WHERE shard = 1")
    replay = await run(pool, PROJECTIONS, await begin(pool, TALLY, source="segments", hold=True), store)
    covered = await pool.fetch(
        "SELECT after, upto FROM replay_ranges WHERE shard = 1 AND replay = $1", replay.id
    )
    assert [tuple(row) for row in covered] == [(0, head)]


async def test_a_flipped_bit_pauses_the_replay_until_the_segment_is_restored(
    pool: Log, tmp_path: Path
) -> None:
    await write_history(pool, 3)
    store = Store(tmp_path)
    sealed = await seal_all(pool, store)
    await catch_up(pool)
    file = store.path(sealed[-1])
    intact = file.read_bytes()
    file.write_bytes(intact[:40] + bytes([intact[40] ^ 1]) + intact[41:])
    replay_id = await begin(pool, TALLY, source="segments")
    with pytest.raises(SegmentError):
        await run(pool, PROJECTIONS, replay_id, Store(tmp_path))
    assert (await read_replay(pool, replay_id)).state == "paused"
    assert (await verify(pool, TALLY)).drift == 0
    file.write_bytes(intact)
    await resume(pool, replay_id)
    assert (await run(pool, PROJECTIONS, replay_id, Store(tmp_path))).state == "cut-over"


async def test_without_a_store_the_replay_is_paused(pool: Log) -> None:
    replay_id = await begin(pool, TALLY, source="segments")
    with pytest.raises(NoSegments):
        await run(pool, PROJECTIONS, replay_id)
    assert (await read_replay(pool, replay_id)).state == "paused"


async def test_segments_of_another_log_are_rejected(pool: Log, module_pool: Log, tmp_path: Path) -> None:
    await write_history(module_pool, 3)
    await seal_all(module_pool, Store(tmp_path))
    with pytest.raises(SegmentError, match="another log"):
        await run(pool, PROJECTIONS, await begin(pool, TALLY, source="segments"), Store(tmp_path))
