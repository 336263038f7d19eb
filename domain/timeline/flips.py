"""Flips: changes of a verdict, each with the event that caused it.

They are defined on the order of the log across shards, so finding them live and in any replay, in batches of any size,
gives the same flips.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, field

from domain.rulebooks.rulebook import Label
from domain.shared.log import Position, Shard


class LogOrder(Struct, frozen=True, order=True):
    """The sort key of an event among the events of all shards."""

    recorded_at: datetime
    shard: Shard
    number: int

    @property
    def position(self) -> Position:
        return Position(self.shard, self.number)


class Flip(Struct, frozen=True):
    """``event`` is the type of the event that caused it, ``rulebook`` the digest of the rulebook in force from there on."""

    tool: int
    before: Label
    after: Label
    order: LogOrder = field(name="place")
    event: str
    rulebook: str
