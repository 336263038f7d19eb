"""Sides of a trial: every tool's verdicts under the rulebooks that were in force, and under the one that is tried."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TypeAlias

from domain.rulebooks.rulebook import Rulebook
from domain.timeline.flips import Flip
from domain.timeline.running_votes import RunningVotes
from domain.timeline.search import AmbiguousSlice, TimeSlice, fold, scan
from domain.timeline.timeline import RulebookChange, VerdictTimeline
from domain.timeline.transitions import VoteEvent
from domain.timeline.trials import ScenarioResult, ToolComparison
from domain.verdicts.comparisons import value_of_clause
from domain.verdicts.verdict import BriefVerdict, judge_briefly

Rank: TypeAlias = tuple[tuple[bool, Fraction], ...]


class Scenario:
    """It begins with a rulebook and goes on with those that are adopted."""

    def __init__(self, rulebook: Rulebook, adoptions: Sequence[RulebookChange] = ()) -> None:
        self.adoptions = tuple(adoptions)
        self.rulebooks = (rulebook, *(each.rulebook for each in adoptions))
        self.verdicts: dict[int, BriefVerdict] = {}
        self.flips: dict[int, list[Flip]] = {}

    @property
    def rulebook(self) -> Rulebook:
        """The one that it ends with."""
        return self.rulebooks[-1]

    @property
    def weighs_votes(self) -> bool:
        return any(book.weighs_votes for book in self.rulebooks)

    @property
    def weighs_age(self) -> bool:
        return any(book.weighs_age for book in self.rulebooks)

    def scan(self, tool: int, slices: Iterable[TimeSlice]) -> list[AmbiguousSlice]:
        """Judge a tool through all of its history, but for the flips that hide in the doubtful stretches."""
        timeline = self._begin(tool)
        found, still_ambiguous = scan(timeline, slices)
        self.flips[tool] = found
        takes, votes = list(timeline.takes.values()), timeline.votes
        days = votes.weighed_days(self.rulebook.community)
        self.verdicts[tool] = judge_briefly(takes, votes.ship, votes.skip, days, self.rulebook)
        return still_ambiguous

    def scan_finer(self, ambiguous: AmbiguousSlice, slices: Iterable[TimeSlice]) -> list[AmbiguousSlice]:
        found, still_ambiguous = scan(ambiguous.timeline, slices)
        self.flips[ambiguous.timeline.tool] += found
        return still_ambiguous

    def fold(self, ambiguous: AmbiguousSlice, votes: Sequence[VoteEvent]) -> None:
        self.flips[ambiguous.timeline.tool] += fold(ambiguous.timeline, votes, ambiguous.slice.changes)

    def _begin(self, tool: int) -> VerdictTimeline:
        votes = RunningVotes(days={} if self.weighs_age else None)
        return VerdictTimeline(tool, self.rulebooks[0], votes=votes)


def compare(in_force: Scenario, tried: Scenario) -> tuple[ToolComparison, ...]:
    """In the order of the tools' numbers."""
    before, after = _tried(in_force), _tried(tried)
    return tuple(
        ToolComparison(tool, before[tool], after[tool], _disagree(verdict, tried.rulebook))
        for tool, verdict in sorted(tried.verdicts.items())
    )


def _tried(side: Scenario) -> dict[int, ScenarioResult]:
    ranks = rank_all(side.verdicts, side.rulebook)
    return {
        tool: ScenarioResult(verdict.label, verdict.margin, ranks[tool], _in_order(side.flips[tool]))
        for tool, verdict in side.verdicts.items()
    }


def _in_order(flips: Iterable[Flip]) -> tuple[Flip, ...]:
    return tuple(sorted(flips, key=lambda flip: flip.place))


def rank_all(verdicts: Mapping[int, BriefVerdict], rulebook: Rulebook) -> dict[int, int]:
    """By the rulebook's clauses, from 1. Tools that no clause tells apart share a rank."""
    values = {tool: _values(verdict, rulebook) for tool, verdict in verdicts.items()}
    ranks: dict[Rank, int] = {}
    for place, value in enumerate(sorted(values.values(), reverse=True), 1):
        ranks.setdefault(value, place)
    return {tool: ranks[value] for tool, value in values.items()}


def _values(verdict: BriefVerdict, rulebook: Rulebook) -> Rank:
    """What is missing comes after what is there."""
    values = [value_of_clause(clause, verdict, rulebook) for clause in rulebook.comparison]
    return tuple((value is not None, value or Fraction(0)) for value in values)


def _disagree(verdict: BriefVerdict, rulebook: Rulebook) -> bool:
    panel, votes = verdict.panel, verdict.community
    opposed = (panel.ship - panel.skip) * (votes.ship - votes.skip) < 0
    return opposed and votes.total >= rulebook.community.minimum
