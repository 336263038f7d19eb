"""Trials: what all verdicts are, and would have been, under another rulebook."""

from __future__ import annotations

from msgspec import Struct

from domain.flips import Flip
from domain.log import Position
from domain.rulebooks import Label
from domain.verdicts import Margin


class Tried(Struct, frozen=True):
    """One tool under a rulebook: its verdict now, its rank by the rulebook's clauses from 1, and every flip up to now."""

    label: Label
    margin: Margin
    rank: int
    flips: tuple[Flip, ...]


class TriedTool(Struct, frozen=True):
    """``in_force``: under the rulebooks that were in force, each in its time. ``tried``: had the other always been.

    ``disagree``: most takes say one thing, and most of at least the minimum of votes the other.
    """

    tool: int
    in_force: Tried
    tried: Tried
    disagree: bool

    @property
    def flips_now(self) -> bool:
        return self.in_force.label != self.tried.label


class Trial(Struct, frozen=True):
    """Of every listed tool that is not retired, in the order of their numbers, up to ``positions``, one per shard."""

    rulebook: str
    against: str
    positions: tuple[Position, ...]
    events: int
    tools: tuple[TriedTool, ...]
