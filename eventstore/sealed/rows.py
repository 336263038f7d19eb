"""Rows as text, spelled alike by Postgres and DuckDB, and the sum of their digests that both can take."""

from __future__ import annotations

from eventstore.sealed.manifest import Content

# One row. Times are microseconds since 1970, a null is "-", and text says its length first, so that no two rows
# read alike. `data` is the text that Postgres has for its jsonb, on both sides. A null at the end adds nothing: rows read
# as they did before there was a `replaced_at`.
ROW = """concat_ws(' ', position, shard, moment, actor, id, coalesce(CAST(tool AS text), '-'),
    concat(length(type), ':', type), concat(length(origin), ':', origin),
    CASE WHEN choice IS NULL THEN '-' ELSE concat(length(choice), ':', choice) END,
    CASE WHEN replaced IS NULL THEN '-' ELSE concat(length(replaced), ':', replaced) END,
    CASE WHEN data IS NULL THEN '-' ELSE concat(length(CAST(data AS text)), ':', CAST(data AS text)) END,
    replaced_moment)"""

# What leaves Postgres of shard $1, from $2 to $3. The columns of eventstore/sealed/duck.py STAGED.
EXPORT = """
SELECT position, CAST(extract(epoch FROM recorded_at) * 1000000 AS bigint) AS moment,
       actor, id, tool, shard, type, choice, replaced, origin, data,
       CAST(extract(epoch FROM replaced_at) * 1000000 AS bigint) AS replaced_moment
  FROM events WHERE shard = $1 AND position BETWEEN $2 AND $3
 ORDER BY position
"""

SUM_IN_POSTGRES = f"""
SELECT count(*), min(position), max(position),
       sum(CAST(CAST('x' || left(md5({ROW}), 16) AS bit(64)) AS bigint))
  FROM (SELECT *, CAST(extract(epoch FROM recorded_at) * 1000000 AS bigint) AS moment,
               CAST(extract(epoch FROM replaced_at) * 1000000 AS bigint) AS replaced_moment
          FROM events WHERE shard = $1 AND position BETWEEN $2 AND $3) AS events
"""
SUM_IN_DUCKDB = f"""
SELECT count(*), min(position), max(position), sum(CAST('0x' || left(md5({ROW}), 16) AS UBIGINT))
  FROM (SELECT *, epoch_us(recorded_at) AS moment, epoch_us(replaced_at) AS replaced_moment FROM {{events}}) AS events
"""


def content(count: int, first: int | None, last: int | None, rows: int | None) -> Content:
    """``rows``: 64 bits of each row's md5, summed; modulo 2**64 the sum is the same of signed and of unsigned bits."""
    return Content(count, first or 0, last or 0, f"{int(rows or 0) % 2**64:016x}")
