"""A batch of casts as columns, and their encoding as parameters of the statement that appends them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal
from uuid import UUID

from msgspec import Struct

from eventstore.ids import mint

Kind = Literal["v", "b"]


class CastBatch(Struct):
    """Casts as columns; tools are decimal digits. ``our_ids`` are the indexes of ids that the server minted."""

    kinds: list[Kind] = []
    actors: list[UUID] = []
    tools: list[str] = []
    choices: list[str | None] = []
    ids: list[UUID] = []
    sources: list[str] = []
    our_ids: set[int] = set()

    def __len__(self) -> int:
        return len(self.ids)

    def mint(self) -> UUID:
        """An id for the cast that is added next."""
        self.our_ids.add(len(self))
        return mint()

    def only(self, numbers: Sequence[int]) -> CastBatch:
        """The casts at these indexes, without ``our_ids``."""
        if len(numbers) == len(self):
            return self
        return CastBatch(
            [self.kinds[n] for n in numbers],
            [self.actors[n] for n in numbers],
            [self.tools[n] for n in numbers],
            [self.choices[n] for n in numbers],
            [self.ids[n] for n in numbers],
            [self.sources[n] for n in numbers],
        )

    def without(self, numbers: Sequence[int]) -> CastBatch:
        """The casts at all other indexes, of a batch that has no kinds and sources yet."""
        left = sorted(set(range(len(self))).difference(numbers))
        return CastBatch(
            actors=[self.actors[n] for n in left],
            tools=[self.tools[n] for n in left],
            choices=[self.choices[n] for n in left],
            ids=[self.ids[n] for n in left],
            our_ids={index for index, n in enumerate(left) if n in self.our_ids},
        )

    def parameters(self) -> tuple[object, ...]:
        """The arguments of APPEND_CASTS after the shard.

        Short columns are sent as the text of an array, which costs a tenth of asyncpg's encoding of a list. Ids are sent
        as uuid[]: Postgres takes longer to parse their text than asyncpg to encode them.
        """
        return (
            _array(self.kinds),
            self.actors,
            _array(self.tools),
            _array(map(_quoted, self.choices)),
            self.ids,
            _array(map(_quoted, self.sources)),
        )


def _array(elements: Iterable[str]) -> str:
    """The text of an array (PostgreSQL manual, section 8.15.6)."""
    return "{" + ",".join(elements) + "}"


@lru_cache(1024)
def _quoted(text: str | None) -> str:
    return "NULL" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
