"""Flips: verdicts that changed, each with the event that caused it.

They are defined on the log's own order across shards, (recorded_at, shard, position), so that live working and any
replay, in any batches, give the same ones.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from domain.rulebooks.rulebook import Label
from domain.shared.log import Position, Shard


class LogOrder(Struct, frozen=True, order=True):
    """Where in the log's own order."""

    recorded_at: datetime
    shard: Shard
    number: int

    @property
    def position(self) -> Position:
        return Position(self.shard, self.number)


class Flip(Struct, frozen=True):
    """``event`` is the type of the event at ``place``; ``rulebook`` the digest of the one in force from there on."""

    tool: int
    before: Label
    after: Label
    place: LogOrder
    event: str
    rulebook: str
