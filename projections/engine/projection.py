"""A projection: one SELECT over `events`, and every statement that is made of it.

The engine narrows ``events`` to a range; the text itself is the same for every range, live, rebuilt, recounted or past.
"""

from __future__ import annotations

import re
from functools import cached_property
from hashlib import sha256
from typing import Literal

import msgspec
from msgspec import Struct

from domain.events.types import EDITORIAL_TYPES, VOTING_TYPES
from domain.shared.log import EDITORIAL, Shard
from projections.engine.upcasting import excluding_parked, upcasts_of, with_upcasts

# Of shard $1, what is after $2 and up to $3.
RANGE = """events AS (
    SELECT * FROM public.events WHERE shard = $1 AND position > $2 AND position <= $3
)"""

POSITIONS = """events AS (
    SELECT * FROM public.events WHERE shard = $1 AND position = ANY($2)
)"""

_TYPE = re.compile(r"'([A-Z]\w*)'")


def replay_names(name: str) -> tuple[str, str]:
    """The names of a read model's two other versions: the one that a replay rebuilds, and the one it replaced."""
    return f"{name}__next", f"{name}__last"


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
    def shadow(self) -> Projection:
        """The same fold into a table of its own, while it is rebuilt."""
        return msgspec.structs.replace(self, name=replay_names(self.name)[0])

    @cached_property
    def previous(self) -> Projection:
        """The version that the last cut-over replaced. It moves on with the live one, so it can come back at once."""
        return msgspec.structs.replace(self, name=replay_names(self.name)[1])

    @cached_property
    def families(self) -> tuple[str, ...]:
        """The event types that the SELECT names: of these it has to be able to read every version."""
        return tuple(sorted(set(_TYPE.findall(self.select))))

    def reads(self, shard: Shard) -> bool:
        """Whether what it reads can be there: events of the house are in its own shard, and no others are."""
        elsewhere = VOTING_TYPES if shard == EDITORIAL else EDITORIAL_TYPES
        return not set(elsewhere).issuperset(self.families)

    @property
    def digest(self) -> str:
        """Of the definition, and of the upcasts through which it reads."""
        return sha256(msgspec.json.encode(self) + upcasts_of(self.families)).hexdigest()

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
        """Merge what the SELECT gives of ``events`` into the table, in the order of the key: ranges that are merged
        side by side meet each other's rows in one order.
        """
        return f"""
            INSERT INTO read_models.{self.name} AS t ({self._listed})
            SELECT {self._listed} FROM ({self.folded}) AS folded ORDER BY {self._key}
            ON CONFLICT ({self._key}) DO UPDATE SET {self._merge}"""

    @property
    def differences(self) -> str:
        """Rows of shard $1 that the log up to $3, recounted from $2 = 0, and the table do not share."""
        return with_upcasts(f"WITH {RANGE}, {self._differences}")

    @property
    def differences_excluding_parked(self) -> str:
        """The same, where some events are parked: the table is to have everything else."""
        return with_upcasts(f"WITH {excluding_parked(RANGE, self.name)}, {self._differences}")

    @property
    def _differences(self) -> str:
        return f"""
            folded AS ({self.folded}),
            recounted AS (SELECT {self._listed} FROM folded),
            kept AS (SELECT {self._listed} FROM read_models.{self.name} WHERE shard = $1)
            SELECT 'log' AS says, * FROM (SELECT * FROM recounted EXCEPT SELECT * FROM kept) AS missing
            UNION ALL
            SELECT 'read model', * FROM (SELECT * FROM kept EXCEPT SELECT * FROM recounted) AS extra"""

    @property
    def fold_range(self) -> str:
        """Of shard $1, merge what is after $2 and up to $3."""
        return with_upcasts(f"WITH {RANGE} {self.merge}")

    @property
    def fold_positions(self) -> str:
        """Of shard $1, merge the events at the positions $2."""
        return with_upcasts(f"WITH {POSITIONS} {self.merge}")

    @cached_property
    def digest_rows(self) -> str:
        """Of shard $1: how many rows, and the sum of the first 64 bits of their MD5s, whatever their order.

        Sums add: the digest of several shards is the sum of theirs, and a row that changes can be taken out and put
        in again.
        """
        return f"""
            SELECT count(*) AS rows, coalesce(sum(('x' || left(md5(row_text), 16))::bit(64)::bigint), 0) AS digest
              FROM (SELECT ROW({self._listed})::text AS row_text
                      FROM read_models.{self.name} WHERE shard = $1) AS kept"""

    @cached_property
    def changes(self) -> str:
        """Rows of shard $1 that the live table and the version beside it do not share."""
        return f"""
            WITH live AS (SELECT {self._listed} FROM read_models.{self.name} WHERE shard = $1),
            beside AS (SELECT {self._listed} FROM read_models.{self.shadow.name} WHERE shard = $1)
            SELECT 'log' AS says, * FROM (SELECT * FROM beside EXCEPT SELECT * FROM live) AS missing
            UNION ALL
            SELECT 'read model', * FROM (SELECT * FROM live EXCEPT SELECT * FROM beside) AS extra"""

    @property
    def cut_over(self) -> str:
        """The version beside becomes the live table, which stays as the last one."""
        shadow, previous = self.shadow.name, self.previous.name
        return f"""
            LOCK TABLE read_models.{self.name}, read_models.{shadow} IN ACCESS EXCLUSIVE MODE;
            DROP TABLE IF EXISTS read_models.{previous};
            ALTER TABLE read_models.{self.name} RENAME TO {previous};
            ALTER TABLE read_models.{shadow} RENAME TO {self.name}"""

    @property
    def roll_back(self) -> str:
        """The live table and the last one change places."""
        shadow, previous = self.shadow.name, self.previous.name
        return f"""
            LOCK TABLE read_models.{self.name}, read_models.{previous} IN ACCESS EXCLUSIVE MODE;
            ALTER TABLE read_models.{self.name} RENAME TO {shadow};
            ALTER TABLE read_models.{previous} RENAME TO {self.name};
            ALTER TABLE read_models.{shadow} RENAME TO {previous}"""

    @property
    def _listed(self) -> str:
        return ", ".join(("shard", *self.columns))

    @property
    def as_of(self) -> str:
        """The read model's columns, folded from whatever ``events`` is narrowed to: see past.py."""
        return f"SELECT {', '.join(('shard', *self.columns))} FROM ({self.folded}) AS folded"

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
