"""Block sums: derived from a sum's own SELECT, they hold what each block of positions added to it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from asyncpg import Record

from projections.bookmark_counts import BLOCK_BOOKMARKS
from projections.daily_votes import BLOCK_DAYS
from projections.engine.blocks import BLOCK_EVENTS, per_block
from projections.engine.projection import Projection
from projections.panel import PANEL
from projections.tally import BLOCK_TALLY
from tests.support.instances import day_of
from tests.support.sealed_history import write_history
from tests.support.stage import Log, catch_up

START_BEFORE_THE_EDGE_OF_A_BLOCK = f"UPDATE heads SET position = {BLOCK_EVENTS - 60} WHERE shard > 0"
EVENTS = "SELECT * FROM events WHERE shard > 0"
READ = {
    BLOCK_TALLY.name: "SELECT shard, tool, block, ship, skip, casts FROM block_tally",
    BLOCK_DAYS.name: "SELECT shard, tool, block, day, ship, skip, casts FROM block_days",
    BLOCK_BOOKMARKS.name: "SELECT shard, tool, block, saved FROM block_bookmarks",
}

Key = tuple[int, ...]


def added(event: Record) -> Iterator[tuple[str, Key, str]]:
    """(read model, key, column) of every 1 that an event adds; a column that begins with ``-`` loses 1."""
    key = event["shard"], event["tool"], (event["position"] - 1) // BLOCK_EVENTS
    if event["type"].startswith("Bookmark"):
        yield "block_bookmarks", key, "saved" if event["type"] == "BookmarkSaved" else "-saved"
        return
    for name, cast, replaced in (
        ("block_tally", key, key),
        ("block_days", (*key, _day(event["recorded_at"])), (*key, _day(event["replaced_at"]))),
    ):
        yield name, cast, "casts"
        if event["choice"]:
            yield name, cast, event["choice"]
        if event["replaced"]:
            yield name, replaced, "-" + event["replaced"]


def _day(time: datetime | None) -> int:
    return day_of(time.astimezone(UTC)) if time else 0


async def test_each_block_holds_what_its_events_added(pool: Log) -> None:
    await pool.execute(START_BEFORE_THE_EDGE_OF_A_BLOCK)
    await write_history(pool, 20261128, casts=600)
    await catch_up(pool)
    expected: dict[str, dict[Key, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for event in await pool.fetch(EVENTS):
        for name, key, column in added(event):
            expected[name][key][column.removeprefix("-")] += -1 if column.startswith("-") else 1
    for name, query in READ.items():
        rows = [dict(row) for row in await pool.fetch(query)]
        keys = [each for each in ("shard", "tool", "block", "day") if each in rows[0]]
        kept = {tuple(row.pop(each) for each in keys): Counter(row) for row in rows}
        assert kept == expected[name], name
        assert {key[2] for key in kept} == {0, 1}


@pytest.mark.parametrize("blocks", [BLOCK_TALLY, BLOCK_DAYS, BLOCK_BOOKMARKS], ids=lambda each: each.name)
def test_block_is_in_every_list_of_columns_and_in_every_group(blocks: Projection) -> None:
    assert blocks.select.count("shard, tool") == blocks.select.count("shard, tool, block") > 1
    assert blocks.keys[:2] == ("tool", "block")


def test_a_read_model_that_is_no_sum_has_no_blocks() -> None:
    with pytest.raises(AssertionError, match="panel is not a sum"):
        per_block(PANEL, "block_panel")
