"""Results of a trial: every tool's verdict, and its verdict if another rulebook had been in force."""

from __future__ import annotations

from msgspec import Struct, field

from domain.rulebooks.rulebook import Label
from domain.shared.log import Position
from domain.timeline.flips import Flip
from domain.verdicts.verdict import Margin


class ScenarioResult(Struct, frozen=True):
    """One tool in one scenario: its verdict at the end, its rank by the rulebook's clauses from 1, and all its flips."""

    label: Label
    margin: Margin
    rank: int
    flips: tuple[Flip, ...]


class ToolComparison(Struct, frozen=True):
    """``in_force``: under the rulebooks that were in force, each in its period. ``tried``: under the rulebook on trial.

    ``panel_and_crowd_differ``: the majorities of takes and of votes differ, and the votes reach the minimum of the rulebook
    on trial.
    """

    tool: int
    in_force: ScenarioResult
    tried: ScenarioResult
    panel_and_crowd_differ: bool = field(name="disagree")

    @property
    def flips_now(self) -> bool:
        """Whether the current verdict would differ."""
        return self.in_force.label != self.tried.label


class Trial(Struct, frozen=True):
    """All listed tools that are not retired, by number, up to ``positions``, one per shard.

    ``rulebook`` is the digest of the one tried, ``against`` of the one in force at the end.
    """

    rulebook: str
    against: str
    positions: tuple[Position, ...]
    events: int
    tools: tuple[ToolComparison, ...]


class Totals(Struct, frozen=True):
    """``flips_now``, ``rank_moves`` and ``disagreements`` count tools; ``flips`` those under the rulebook on trial."""

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
        disagreements=sum(each.panel_and_crowd_differ for each in tools),
    )
