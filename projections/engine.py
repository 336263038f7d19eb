"""The engine: folds each read model's one SELECT over the next range of a shard, exactly once.

A projection is a SELECT over ``events``. The engine narrows ``events`` to a range and merges what the SELECT
gives into the read model's table; the text itself is the same for every range, live or recounted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from typing import Literal

import msgspec
from asyncpg import Connection, Pool, Record
from msgspec import Struct

from domain.log import Shard

# A shard is claimed whole, or not at all: read models that advance together stay at one position.
CLAIM = """
SELECT c.projection, c.position, h.position AS head
  FROM checkpoints AS c JOIN heads AS h USING (shard)
 WHERE c.shard = $1 AND c.position < h.position
   AND (SELECT pg_try_advisory_xact_lock(hashtext('shiplog advance'), $1))
   FOR NO KEY UPDATE OF c
"""
BEHIND = """
SELECT c.shard FROM checkpoints AS c JOIN heads AS h USING (shard)
 GROUP BY c.shard HAVING bool_or(c.position < h.position) ORDER BY c.shard
"""

READ_DEFINITIONS = "SELECT projection, digest FROM definitions"
WRITE_DEFINITION = """
INSERT INTO definitions (projection, digest) VALUES ($1, $2)
ON CONFLICT (projection) DO UPDATE SET digest = excluded.digest
"""
START_AGAIN = """
INSERT INTO checkpoints (shard, projection) SELECT shard, $1 FROM heads
ON CONFLICT (shard, projection) DO UPDATE SET position = 0
"""

# Of shard $1, what is after $2 and up to $3.
RANGE = """events AS (
    SELECT * FROM public.events WHERE shard = $1 AND position > $2 AND position <= $3
)"""

# How much of a shard one transaction folds: long enough to be cheap, short enough to be seen soon.
BATCH = 50_000


class Projection(Struct, frozen=True, dict=True):
    """A read model's definition.

    ``columns`` are the table's, as DDL; the table's key is shard and ``keys``. Shape *sum* adds every other
    column; shape *last* keeps the newest row by its column ``position``. ``indexes`` are column lists.

    A read model with a ``view`` is kept by the append itself, in standings: the view shows it under the
    same columns, nothing advances it, and ``select`` is what verify holds it to.
    """

    name: str
    shape: Literal["sum", "last"]
    keys: tuple[str, ...]
    columns: dict[str, str]
    select: str
    indexes: tuple[str, ...] = ()
    view: str | None = None

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(column for column in self.columns if column not in self.keys)

    @cached_property
    def digest(self) -> str:
        return sha256(msgspec.json.encode(self)).hexdigest()

    @cached_property
    def create(self) -> str:
        """What ``install`` makes in the schema read_models."""
        if self.view is not None:
            return f"CREATE VIEW read_models.{self.name} AS {self.view}"
        columns = ", ".join(f"{name} {ddl}" for name, ddl in {"shard": "smallint", **self.columns}.items())
        # Sums are updated at every advance: room on a row's own page keeps that out of the indexes.
        room = " WITH (fillfactor = 70)" if self.shape == "sum" else ""
        table = f"CREATE TABLE read_models.{self.name} ({columns}, PRIMARY KEY ({self._key})){room}"
        indexes = [f"CREATE INDEX ON read_models.{self.name} ({columns})" for columns in self.indexes]
        return "; ".join([table, *indexes])

    @property
    def drop(self) -> str:
        return f"DROP {'TABLE' if self.view is None else 'VIEW'} IF EXISTS read_models.{self.name}"

    @cached_property
    def merge(self) -> str:
        """Merge what the SELECT gives of ``events`` into the table."""
        listed = ", ".join(("shard", *self.columns))
        return f"""
            INSERT INTO read_models.{self.name} AS t ({listed})
            SELECT {listed} FROM ({self.folded}) AS folded
            ON CONFLICT ({self._key}) DO UPDATE SET {self._merge}"""

    @cached_property
    def differences(self) -> str:
        """Rows of shard $1 that the log up to $3, recounted from $2 = 0, and the table do not share."""
        listed = ", ".join(("shard", *self.columns))
        return f"""
            WITH {RANGE}, folded AS ({self.folded}),
            recounted AS (SELECT {listed} FROM folded),
            kept AS (SELECT {listed} FROM read_models.{self.name} WHERE shard = $1)
            SELECT 'log' AS says, * FROM (SELECT * FROM recounted EXCEPT SELECT * FROM kept) AS missing
            UNION ALL
            SELECT 'read model', * FROM (SELECT * FROM kept EXCEPT SELECT * FROM recounted) AS extra"""

    @property
    def _key(self) -> str:
        return ", ".join(("shard", *self.keys))

    @property
    def folded(self) -> str:
        if self.shape == "sum":
            return self.select
        return f"""SELECT DISTINCT ON ({self._key}) * FROM ({self.select}) AS every
                    ORDER BY {self._key}, position DESC"""

    @property
    def _merge(self) -> str:
        if self.shape == "sum":
            return ", ".join(f"{value} = t.{value} + excluded.{value}" for value in self.values)
        newest = ", ".join(f"{value} = excluded.{value}" for value in self.values)
        return f"{newest} WHERE excluded.position > t.position"


class Advanced(Struct, frozen=True):
    """What one transaction moved: up to where, and by how many events."""

    shard: Shard
    position: int
    events: int


class CheckpointMoved(Exception):
    """Another worker advanced this read model first. Nothing was kept; try again from its checkpoint."""


async def install(conn: Connection[Record], projections: Sequence[Projection]) -> list[str]:
    """Create the tables; drop and start again those whose definition changed. Returns the names built anew."""
    known = {row[0]: row[1] for row in await conn.fetch(READ_DEFINITIONS)}
    fresh = [projection for projection in projections if known.get(projection.name) != projection.digest]
    for projection in fresh:
        async with conn.transaction():
            await conn.execute("SET LOCAL ROLE shiplog_app")
            await conn.execute(projection.drop)
            await conn.execute(projection.create)
            await conn.execute(WRITE_DEFINITION, projection.name, projection.digest)
            if projection.view is None:
                await conn.execute(START_AGAIN, projection.name)
    return [projection.name for projection in fresh]


async def behind(pool: Pool[Record]) -> list[Shard]:
    """The shards with events that some read model has not folded."""
    return [Shard(row[0]) for row in await pool.fetch(BEHIND)]


async def advance(
    pool: Pool[Record], projections: Sequence[Projection], shard: Shard, *, batch: int = BATCH
) -> Advanced | None:
    """Move the shard's read models on by one range, in one transaction. None when there is nothing to claim.

    Those furthest behind move, and no further than to where the next ones wait for them: once at one
    position, all go on together.
    """
    async with pool.acquire() as conn, conn.transaction():
        claimed = {row["projection"]: row for row in await conn.fetch(CLAIM, shard)}
        due = [projection for projection in projections if projection.name in claimed]
        if not due:
            return None
        start = min(claimed[p.name]["position"] for p in due)
        moving = [p for p in due if claimed[p.name]["position"] == start]
        ahead = [claimed[p.name]["position"] for p in due if p not in moving]
        upto = min([*ahead, claimed[due[0].name]["head"], start + batch])
        names = [projection.name for projection in moving]
        if await conn.fetchval(fold(moving), shard, start, upto, names) != len(moving):
            raise CheckpointMoved
        return Advanced(shard, upto, upto - start)


def fold(projections: Sequence[Projection]) -> str:
    """Fold a range into all the tables and move their checkpoints; gives how many of these stood at its start."""
    merges = ", ".join(f"{projection.name} AS ({projection.merge})" for projection in projections)
    return f"""
        WITH {RANGE}, {merges}, moved AS (
            UPDATE checkpoints SET position = $3 WHERE shard = $1 AND position = $2 AND projection = ANY($4)
            RETURNING projection)
        SELECT count(*) FROM moved"""
