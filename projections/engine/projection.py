"""A projection: one SELECT over `events`, and every statement derived from it.

The engine narrows ``events`` to a range. The SELECT is the same for every range, whether it is folded live, rebuilt by
a replay, recounted or read as of a past position.
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

# The events of shard $1 after position $2 and up to $3.
RANGE = """events AS (
    SELECT * FROM public.events WHERE shard = $1 AND position > $2 AND position <= $3
)"""

# The events of shard $1 at the positions $2.
POSITIONS = """events AS (
    SELECT * FROM public.events WHERE shard = $1 AND position = ANY($2)
)"""

_TYPE = re.compile(r"'([A-Z]\w*)'")


def replay_names(name: str) -> tuple[str, str]:
    """The names of a read model's two other versions: the one that a replay rebuilds, and the one it replaced."""
    return f"{name}__next", f"{name}__last"


class Projection(Struct, frozen=True, dict=True):
    """The definition of a read model.

    ``columns`` are the table's columns as DDL; its primary key is shard and ``keys``. A *sum* adds the values of
    equal keys; *last* keeps the row with the highest ``position``. ``indexes`` are lists of columns.

    A read model with a ``view`` is maintained by the append itself, in the table standings. The view shows it under
    the same columns, no worker advances it, and verify compares it with ``select``.
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
        """The version that a replay rebuilds: the same fold into another table."""
        return msgspec.structs.replace(self, name=replay_names(self.name)[0])

    @cached_property
    def previous(self) -> Projection:
        """The version that the last cut-over replaced. It is advanced with the live one, to roll back at any time."""
        return msgspec.structs.replace(self, name=replay_names(self.name)[1])

    @property
    def versions(self) -> tuple[Projection, Projection, Projection]:
        """The live read model, its shadow and its previous version, each of which may have checkpoints."""
        return self, self.shadow, self.previous

    @cached_property
    def families(self) -> tuple[str, ...]:
        """The event types that the SELECT names, without versions. The fold has to read every version of them."""
        return tuple(sorted(set(_TYPE.findall(self.select))))

    def reads(self, shard: Shard) -> bool:
        """Whether the shard can contain an event that the SELECT reads. Editorial events are in a shard of their own."""
        other_types = VOTING_TYPES if shard == EDITORIAL else EDITORIAL_TYPES
        return not set(other_types).issuperset(self.families)

    @property
    def digest(self) -> str:
        """SHA-256 of the definition and of the upcasters that apply to its events."""
        return sha256(msgspec.json.encode(self) + upcasts_of(self.families)).hexdigest()

    @cached_property
    def create(self) -> str:
        """CREATE the table and its indexes, or the view, in the schema read_models."""
        if self.view is not None:
            return f"CREATE VIEW read_models.{self.name} AS {self.view}"
        columns = ", ".join(f"{name} {ddl}" for name, ddl in {"shard": "smallint", **self.columns}.items())
        # Every advance updates rows of a sum. Free space on their pages allows HOT updates, which touch no index.
        free_space = " WITH (fillfactor = 70)" if self.shape == "sum" else ""
        table = (
            f"CREATE TABLE read_models.{self.name} ({columns}, PRIMARY KEY ({self._key_list})){free_space}"
        )
        indexes = [f"CREATE INDEX ON read_models.{self.name} ({columns})" for columns in self.indexes]
        return "; ".join([table, *indexes])

    @property
    def drop(self) -> str:
        return f"DROP {'TABLE' if self.view is None else 'VIEW'} IF EXISTS read_models.{self.name}"

    @cached_property
    def upsert(self) -> str:
        """Fold ``events`` into the table, in the order of its key so that concurrent upserts cannot deadlock."""
        return f"""
            INSERT INTO read_models.{self.name} AS t ({self.column_list})
            {self.fold_select} ORDER BY {self._key_list}
            ON CONFLICT ({self._key_list}) DO UPDATE SET {self._on_conflict}"""

    @property
    def differences(self) -> str:
        """The rows of shard $1 in which the table and a recount of the log, from $2 = 0 up to $3, differ."""
        return with_upcasts(f"WITH {RANGE}, {self._differences}")

    @property
    def differences_excluding_parked(self) -> str:
        """The same, but the recount leaves out the events that the read model has parked."""
        return with_upcasts(f"WITH {excluding_parked(RANGE, self.name)}, {self._differences}")

    @property
    def _differences(self) -> str:
        return f"""
            recounted AS ({self.fold_select}),
            kept AS (SELECT {self.column_list} FROM read_models.{self.name} WHERE shard = $1)
            SELECT 'log' AS says, * FROM (SELECT * FROM recounted EXCEPT SELECT * FROM kept) AS missing
            UNION ALL
            SELECT 'read model', * FROM (SELECT * FROM kept EXCEPT SELECT * FROM recounted) AS extra"""

    @property
    def fold_range(self) -> str:
        """Fold the events of shard $1 after $2 and up to $3 into the table."""
        return with_upcasts(f"WITH {RANGE} {self.upsert}")

    @property
    def fold_positions(self) -> str:
        """Fold the events of shard $1 at the positions $2 into the table."""
        return with_upcasts(f"WITH {POSITIONS} {self.upsert}")

    @cached_property
    def digest_rows(self) -> str:
        """The number of rows of shard $1, and the sum of the first 64 bits of each row's MD5, in any order.

        The digest of several shards is the sum of their digests.
        """
        return f"""
            SELECT count(*) AS rows, coalesce(sum(('x' || left(md5(row_text), 16))::bit(64)::bigint), 0) AS digest
              FROM (SELECT ROW({self.column_list})::text AS row_text
                      FROM read_models.{self.name} WHERE shard = $1) AS kept"""

    @cached_property
    def shadow_differences(self) -> str:
        """The rows of shard $1 in which the live table and the shadow differ; the shadow is recounted from the log."""
        return f"""
            WITH live AS (SELECT {self.column_list} FROM read_models.{self.name} WHERE shard = $1),
            shadow AS (SELECT {self.column_list} FROM read_models.{self.shadow.name} WHERE shard = $1)
            SELECT 'log' AS says, * FROM (SELECT * FROM shadow EXCEPT SELECT * FROM live) AS missing
            UNION ALL
            SELECT 'read model', * FROM (SELECT * FROM live EXCEPT SELECT * FROM shadow) AS extra"""

    @property
    def cut_over(self) -> str:
        """The shadow becomes the live table, and the live table the previous version."""
        shadow, previous = self.shadow.name, self.previous.name
        return f"""
            LOCK TABLE read_models.{self.name}, read_models.{shadow} IN ACCESS EXCLUSIVE MODE;
            DROP TABLE IF EXISTS read_models.{previous};
            ALTER TABLE read_models.{self.name} RENAME TO {previous};
            ALTER TABLE read_models.{shadow} RENAME TO {self.name}"""

    @property
    def roll_back(self) -> str:
        """The previous version becomes the live table again, and the live table the shadow."""
        shadow, previous = self.shadow.name, self.previous.name
        return f"""
            LOCK TABLE read_models.{self.name}, read_models.{previous} IN ACCESS EXCLUSIVE MODE;
            ALTER TABLE read_models.{self.name} RENAME TO {shadow};
            ALTER TABLE read_models.{previous} RENAME TO {self.name};
            ALTER TABLE read_models.{shadow} RENAME TO {previous}"""

    @property
    def column_list(self) -> str:
        return ", ".join(("shard", *self.columns))

    @property
    def _key_list(self) -> str:
        return ", ".join(("shard", *self.keys))

    @property
    def fold_select(self) -> str:
        """Fold ``events`` to rows, in the columns of the table."""
        return f"SELECT {self.column_list} FROM ({self._one_row_per_key}) AS folded"

    @property
    def _one_row_per_key(self) -> str:
        if self.shape == "sum":
            return self.select
        return f"""SELECT DISTINCT ON ({self._key_list}) * FROM ({self.select}) AS every
                    ORDER BY {self._key_list}, position DESC"""

    @property
    def _on_conflict(self) -> str:
        if self.shape == "sum":
            return ", ".join(f"{value} = t.{value} + excluded.{value}" for value in self.values)
        newest = ", ".join(f"{value} = excluded.{value}" for value in self.values)
        return f"{newest} WHERE excluded.position > t.position"
