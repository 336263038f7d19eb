"""A row has the same digest in Postgres and in a segment, and different rows have different digests."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import UUID

from asyncpg import Pool, Record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.shared.log import Shard
from eventstore.sealed.manifest import Segment
from eventstore.sealed.rows import EXPORT_ROWS, SUM_IN_POSTGRES
from eventstore.sealed.seal import _write_and_read, postgres_content

SHARD = Shard(3)
MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
INSERT_EVENT = """
INSERT INTO events (shard, position, recorded_at, actor, id, tool, type, choice, replaced, origin, data, replaced_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""

# Text that Postgres can store: no NUL, no lone surrogate.
texts = st.one_of(
    st.sampled_from(["", '"', "\\.", "\\N", "NULL", "-", "1:", "a,b", "x\r\ny", "\r", " ", "1:-"]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
uuids = st.integers(0, 2**128 - 1).map(lambda number: UUID(int=number))
rows = st.tuples(
    moments,
    uuids,
    uuids,
    st.none() | st.integers(-(2**31), 2**31 - 1),
    texts,
    st.none() | texts,
    st.none() | texts,
    texts,
    st.none() | values.map(lambda value: json.dumps(value).encode()),
    st.none() | moments,
)
_positions = count(1, 10)


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=st.lists(rows, min_size=1, max_size=8))
async def test_both_engines_give_a_row_the_same_digest(
    module_pool: Pool[Record], tmp_path: Path, rows: list[tuple[object, ...]]
) -> None:
    first = next(_positions)
    segment = Segment(SHARD, first, first + len(rows) - 1)
    await module_pool.executemany(INSERT_EVENT, [(SHARD, first + n, *row) for n, row in enumerate(rows)])
    csv, parquet = tmp_path / f"{first}.csv", tmp_path / f"{first}.parquet"
    async with module_pool.acquire() as conn:
        await conn.copy_from_query(EXPORT_ROWS, SHARD, segment.first, segment.last, output=csv, format="csv")
    read = _write_and_read(tmp_path, csv, parquet, 1)
    assert read == await postgres_content(module_pool, segment)
    assert (read.count, read.first, read.last) == (len(rows), segment.first, segment.last)


# Without lengths, texts of these characters could be confused with their neighbours.
ambiguous_texts = st.text("01:- ", max_size=4)
ends = st.none() | st.integers(0, 20).map(lambda seconds: MOMENT + timedelta(seconds=seconds))
pairs = st.tuples(
    ambiguous_texts, st.none() | ambiguous_texts, st.none() | ambiguous_texts, ambiguous_texts, ends
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=pairs, other=pairs)
async def test_different_rows_have_different_digests(
    module_pool: Pool[Record], one: tuple[object, ...], other: tuple[object, ...]
) -> None:
    assert (await digest(module_pool, one) == await digest(module_pool, other)) == (one == other)


async def digest(log: Pool[Record], values: tuple[object, ...]) -> object:
    """The digest of a row with these texts and this replaced_at; the row is rolled back."""
    position = 1_000_000
    async with log.acquire() as conn:
        *texts, last = values
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute(
            INSERT_EVENT, SHARD, position, MOMENT, UUID(int=1), UUID(int=2), 7, *texts, None, last
        )
        (row,) = await conn.fetch(SUM_IN_POSTGRES, SHARD, position, position)
        await transaction.rollback()
    return row[3]
