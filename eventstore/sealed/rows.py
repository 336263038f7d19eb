"""Row digests that Postgres and DuckDB compute alike, from one SQL expression for a row as text."""

from __future__ import annotations

from eventstore.sealed.manifest import Content

# One row. Times are microseconds since 1970, a null is "-", and text is preceded by its length, so that different rows
# have different texts. `data` is Postgres's text of the jsonb in both engines. A null `replaced_moment` adds nothing.
ROW = """concat_ws(' ', position, shard, moment, actor, id, coalesce(CAST(tool AS text), '-'),
    concat(length(type), ':', type), concat(length(origin), ':', origin),
    CASE WHEN choice IS NULL THEN '-' ELSE concat(length(choice), ':', choice) END,
    CASE WHEN replaced IS NULL THEN '-' ELSE concat(length(replaced), ':', replaced) END,
    CASE WHEN data IS NULL THEN '-' ELSE concat(length(CAST(data AS text)), ':', CAST(data AS text)) END,
    replaced_moment)"""

# Shard $1 from position $2 to $3, with the columns of CREATE_STAGED in eventstore/sealed/duck.py.
EXPORT_ROWS = """
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


def make_content(count: int, first: int | None, last: int | None, rows: int | None) -> Content:
    """``rows`` sums 64 bits of each row's md5; modulo 2**64 the sum is the same for signed and unsigned integers."""
    return Content(count, first or 0, last or 0, f"{int(rows or 0) % 2**64:016x}")
