"""DuckDB, an optional extra: a connection for one task, limited to given folders and without network access."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from eventstore.sealed.manifest import SegmentError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# The segments $files as the columns of `events`. DuckDB builds ids only for a query that reads them.
SEGMENT_EVENTS = """(
    SELECT position, recorded_at, actor,
           CAST((CAST(id_high AS UHUGEINT) << 64) | CAST(id_low AS UHUGEINT) AS UUID) AS id,
           tool, shard, type, choice, replaced, origin, data, replaced_at
      FROM read_parquet($files))"""

CREATE_STAGED = """
CREATE TEMP TABLE staged (
    position BIGINT, moment BIGINT, actor UUID, id UUID, tool INTEGER, shard SMALLINT,
    type VARCHAR, choice VARCHAR, replaced VARCHAR, origin VARCHAR, data JSON, replaced_moment BIGINT)
"""
# CSV as Postgres writes it: an empty value without quotes is null.
CSV_OPTIONS = """(FORMAT csv, HEADER false, AUTO_DETECT false, DELIMITER ',', QUOTE '"', ESCAPE '"',
    NULLSTR '', ALLOW_QUOTED_NULLS false, NEW_LINE '\\n', MAX_LINE_SIZE 16777216)"""
COPY_TO_PARQUET = """
COPY (
    SELECT position, make_timestamptz(moment) AS recorded_at, actor,
           CAST(CAST(id AS UHUGEINT) >> 64 AS UBIGINT) AS id_high,
           CAST(CAST(id AS UHUGEINT) & 18446744073709551615 AS UBIGINT) AS id_low,
           tool, shard, type, choice, replaced, origin, data, make_timestamptz(replaced_moment) AS replaced_at
      FROM staged
) TO '{path}' (
    FORMAT parquet, PARQUET_VERSION V2, COMPRESSION zstd, ROW_GROUP_SIZE 262144, DICTIONARY_SIZE_LIMIT 131072)
"""

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}


class FoldFailed(SegmentError):
    """The fold of a segment failed on a value in it; the file is intact."""


class DuckDBMissing(Exception):
    """Sealed history needs DuckDB: pip install 'shiplog-server[segments]'."""

    def __str__(self) -> str:
        return str(self.__doc__)


def is_installed() -> bool:
    return find_spec("duckdb") is not None


@contextmanager
def connect(threads: int, *folders: Path) -> Iterator[DuckDBPyConnection]:
    """A connection that can read and write only these folders and a temporary one. Raises DuckDBMissing."""
    if not is_installed():
        raise DuckDBMissing
    import duckdb

    with TemporaryDirectory(prefix="shiplog-spill-") as spill, duckdb.connect(config=_CONFIG) as duck:
        duck.execute("SET TimeZone = 'UTC'")
        duck.execute("SET threads = $1", [threads])
        duck.execute("SET temp_directory = $1", [spill])
        duck.execute("SET allowed_directories = $1", [[str(folder) for folder in folders]])
        duck.execute("SET enable_external_access = false")
        duck.execute("SET lock_configuration = true")
        try:
            yield duck
        except duckdb.DataError as error:
            raise FoldFailed(f"DuckDB could not fold the segments: {error}") from error
        except duckdb.Error as error:
            raise SegmentError(f"DuckDB failed: {error}") from error


def read_csv(duck: DuckDBPyConnection, table: str, path: Path) -> None:
    """Fill a table from CSV that Postgres wrote."""
    duck.execute(f"COPY {table} FROM '{quote_path(path)}' {CSV_OPTIONS}")


def write_segment(duck: DuckDBPyConnection, csv: Path, path: Path) -> None:
    """Rows keep the order of the CSV.

    They are staged in a table first, because DuckDB would apply casts in a query over CSV to the text of the column.
    """
    duck.execute(CREATE_STAGED)
    read_csv(duck, "staged", csv)
    duck.execute(COPY_TO_PARQUET.format(path=quote_path(path)))


def query(
    duck: DuckDBPyConnection, statement: str, files: Sequence[Path], **values: object
) -> DuckDBPyConnection:
    """Run a statement in which ``{events}`` stands for the events of the files."""
    return duck.execute(
        statement.replace("{events}", SEGMENT_EVENTS), {"files": [str(file) for file in files], **values}
    )


def quote_path(path: Path) -> str:
    return str(path).replace("'", "''")
