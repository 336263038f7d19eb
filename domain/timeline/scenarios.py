"""Scenarios of a trial: every tool's verdicts under the rulebooks that were in force, or under the one on trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TypeAlias

from msgspec import Struct

from domain.rulebooks.rulebook import Rulebook
from domain.timeline.changes import Change, RulebookChange
from domain.timeline.flips import Flip
from domain.timeline.running_votes import RunningVotes
from domain.timeline.timeline import VerdictTimeline
from domain.timeline.transitions import VoteEvent
from domain.timeline.trials import ScenarioResult, ToolComparison
from domain.timeline.vote_delta import VoteDelta
from domain.verdicts.comparisons import value_of_clause
from domain.verdicts.verdict import BriefVerdict, judge_briefly

RankKey: TypeAlias = tuple[tuple[bool, Fraction], ...]


class TimeSlice(Struct, frozen=True):
    """The events of one tool within a span of time: its votes as one delta, and its changes one by one."""

    number: int
    delta: VoteDelta
    changes: tuple[Change, ...] = ()


class AmbiguousSlice(Struct, frozen=True):
    """A slice that may contain flips of a scenario, with the timeline as it was before the slice."""

    scenario: Scenario
    slice: TimeSlice
    timeline: VerdictTimeline

    @property
    def tool(self) -> int:
        return self.timeline.tool


class Scenario:
    """Begins with a rulebook and follows the adoptions. Collects the verdict and the flips of every tool."""

    def __init__(self, rulebook: Rulebook, adoptions: Sequence[RulebookChange] = ()) -> None:
        self.adoptions = tuple(adoptions)
        self.rulebooks = (rulebook, *(each.rulebook for each in adoptions))
        self.verdicts: dict[int, BriefVerdict] = {}
        self.flips: dict[int, list[Flip]] = {}

    @property
    def rulebook(self) -> Rulebook:
        """The one in force at the end."""
        return self.rulebooks[-1]

    @property
    def weighs_votes(self) -> bool:
        return any(book.weighs_votes for book in self.rulebooks)

    @property
    def weighs_age(self) -> bool:
        return any(book.weighs_age for book in self.rulebooks)

    def scan(self, tool: int, slices: Iterable[TimeSlice]) -> list[AmbiguousSlice]:
        """Judge a tool and find its flips. Returns the ambiguous slices, whose flips are not found yet."""
        votes = RunningVotes(days={} if self.weighs_age else None)
        timeline = VerdictTimeline(tool, self.rulebooks[0], votes=votes)
        ambiguous = self._scan(timeline, slices)
        days = votes.weighed_days(self.rulebook.community)
        self.verdicts[tool] = judge_briefly(
            list(timeline.takes.values()), votes.ship, votes.skip, days, self.rulebook
        )
        return ambiguous

    def scan_finer(self, ambiguous: AmbiguousSlice, slices: Iterable[TimeSlice]) -> list[AmbiguousSlice]:
        """``scan`` for the shorter slices into which an ambiguous one was divided."""
        return self._scan(ambiguous.timeline, slices)

    def fold(self, ambiguous: AmbiguousSlice, votes: Sequence[VoteEvent]) -> None:
        """Find the flips of an ambiguous slice vote by vote."""
        self.flips[ambiguous.tool] += ambiguous.timeline.fold(votes, ambiguous.slice.changes)

    def _scan(self, timeline: VerdictTimeline, slices: Iterable[TimeSlice]) -> list[AmbiguousSlice]:
        found, ambiguous = self.flips.setdefault(timeline.tool, []), list[AmbiguousSlice]()
        for time_slice in slices:
            delta, changes = time_slice.delta, time_slice.changes
            weights = timeline.votes.weigh(delta)
            flips = timeline.fast_forward(delta, weights, changes)
            if flips is None:
                ambiguous.append(AmbiguousSlice(self, time_slice, timeline.copy(changes)))
                timeline.advance_past(delta, weights, changes)
            else:
                found += flips
        return ambiguous


def compare(in_force: Scenario, tried: Scenario) -> tuple[ToolComparison, ...]:
    """By the numbers of the tools."""
    before, after = _results(in_force), _results(tried)
    return tuple(
        ToolComparison(tool, before[tool], after[tool], _panel_and_crowd_differ(verdict, tried.rulebook))
        for tool, verdict in sorted(tried.verdicts.items())
    )


def _results(scenario: Scenario) -> dict[int, ScenarioResult]:
    ranks = rank_all(scenario.verdicts, scenario.rulebook)
    return {
        tool: ScenarioResult(verdict.label, verdict.margin, ranks[tool], _in_order(scenario.flips[tool]))
        for tool, verdict in scenario.verdicts.items()
    }


def _in_order(flips: Iterable[Flip]) -> tuple[Flip, ...]:
    return tuple(sorted(flips, key=lambda flip: flip.order))


def rank_all(verdicts: Mapping[int, BriefVerdict], rulebook: Rulebook) -> dict[int, int]:
    """Ranks by the rulebook's clauses, from 1. Tools that are equal by every clause share a rank."""
    keys = {tool: _rank_key(verdict, rulebook) for tool, verdict in verdicts.items()}
    ranks: dict[RankKey, int] = {}
    for rank, key in enumerate(sorted(keys.values(), reverse=True), 1):
        ranks.setdefault(key, rank)
    return {tool: ranks[key] for tool, key in keys.items()}


def _rank_key(verdict: BriefVerdict, rulebook: Rulebook) -> RankKey:
    """A missing value ranks below every other."""
    values = [value_of_clause(clause, verdict, rulebook) for clause in rulebook.comparison]
    return tuple((value is not None, value or Fraction(0)) for value in values)


def _panel_and_crowd_differ(verdict: BriefVerdict, rulebook: Rulebook) -> bool:
    panel, votes = verdict.panel, verdict.community
    opposed = (panel.ship - panel.skip) * (votes.ship - votes.skip) < 0
    return opposed and votes.total >= rulebook.community.minimum
