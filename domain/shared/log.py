"""The log: shards, positions, and events before and after they are recorded."""

from __future__ import annotations

import re
from datetime import datetime
from typing import NewType
from uuid import UUID

from msgspec import Struct

from domain.shared.types import Choice

Shard = NewType("Shard", int)

# The catalogue, the panel and the rulebooks share one shard, so their events have one order.
# Ballots and bookmarks are distributed over the other shards, by actor.
EDITORIAL = Shard(0)


def shard_of(actor: UUID, shards: int) -> Shard:
    """The shard, 1..shards, of all ballots and bookmarks of this actor."""
    return Shard(1 + (actor.int >> 64) % shards)


class Position(Struct, frozen=True, order=True):
    """A place in the log, written ``shard.number``. Numbers are gapless within a shard, from 1."""

    shard: Shard
    number: int

    def __str__(self) -> str:
        return f"{self.shard}.{self.number}"


_POSITION = re.compile(r"(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,17})\Z", re.ASCII)


def parse_position(text: str) -> Position:
    """From ``3.1842``. Raises ValueError for any other form."""
    found = _POSITION.match(text)
    if found is None:
        raise ValueError(f"A position is written shard.number, for example 3.1842; got {text[:60]!r}.")
    return Position(Shard(int(found[1])), int(found[2]))


class Event(Struct, frozen=True, kw_only=True):
    """An event to append. Fields that folds read are columns; the rest is ``data``, as JSON."""

    type: str
    actor: UUID
    id: UUID
    source: str
    tool: int | None = None
    choice: Choice | None = None
    replaced: Choice | None = None
    data: bytes | None = None


class RecordedEvent(Struct, frozen=True):
    position: Position
    recorded_at: datetime
    event: Event
