"""Trials: what all verdicts are, and would have been, under another rulebook."""

from __future__ import annotations

from msgspec import Struct

from domain.rulebooks.rulebook import Label
from domain.shared.log import Position
from domain.timeline.flips import Flip
from domain.verdicts.verdict import Margin


class ScenarioResult(Struct, frozen=True):
    """One tool under a rulebook: its verdict now, its rank by the rulebook's clauses from 1, and every flip up to now."""

    label: Label
    margin: Margin
    rank: int
    flips: tuple[Flip, ...]


class ToolComparison(Struct, frozen=True):
    """``in_force``: under the rulebooks that were in force, each in its time. ``tried``: had the other always been.

    ``disagree``: most takes say one thing, and most of at least the minimum of votes the other.
    """

    tool: int
    in_force: ScenarioResult
    tried: ScenarioResult
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
    tools: tuple[ToolComparison, ...]


class Totals(Struct, frozen=True):
    """Of a trial: verdicts that would be others now, flips up to now on both sides, and tools that change their rank."""

    tools: int
    flips_now: int
    flips: int
    flips_in_force: int
    rank_moves: int
    disagreements: int


def total(trial: Trial) -> Totals:
    tools = trial.tools
    return Totals(
        tools=len(tools),
        flips_now=sum(each.flips_now for each in tools),
        flips=sum(len(each.tried.flips) for each in tools),
        flips_in_force=sum(len(each.in_force.flips) for each in tools),
        rank_moves=sum(each.in_force.rank != each.tried.rank for each in tools),
        disagreements=sum(each.disagree for each in tools),
    )
