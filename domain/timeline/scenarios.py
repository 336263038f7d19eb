"""Sides of a trial: every tool's verdicts under the rulebooks that were in force, and under the one that is tried."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TypeAlias

from domain.rulebooks.rulebook import Rulebook
from domain.timeline.flips import Flip
from domain.timeline.running_votes import RunningVotes
from domain.timeline.search import Doubt, Stretch, explore, fold
from domain.timeline.timeline import Adopted, Course
from domain.timeline.transitions import Vote
from domain.timeline.trials import Tried, TriedTool
from domain.verdicts.comparisons import value_by
from domain.verdicts.verdict import Outcome, judge_shortly

Rank: TypeAlias = tuple[tuple[bool, Fraction], ...]


class Side:
    """It begins with a rulebook and goes on with those that are adopted."""

    def __init__(self, rulebook: Rulebook, adoptions: Sequence[Adopted] = ()) -> None:
        self.adoptions = tuple(adoptions)
        self.rulebooks = (rulebook, *(each.rulebook for each in adoptions))
        self.verdicts: dict[int, Outcome] = {}
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

    def explore(self, tool: int, stretches: Iterable[Stretch]) -> list[Doubt]:
        """Judge a tool through all of its history, but for the flips that hide in the doubtful stretches."""
        course = self._begin(tool)
        found, doubts = explore(course, stretches)
        self.flips[tool] = found
        takes, votes = list(course.takes.values()), course.votes
        days = votes.weighed_days(self.rulebook.community)
        self.verdicts[tool] = judge_shortly(takes, votes.ship, votes.skip, days, self.rulebook)
        return doubts

    def explore_finer(self, doubt: Doubt, stretches: Iterable[Stretch]) -> list[Doubt]:
        found, doubts = explore(doubt.course, stretches)
        self.flips[doubt.course.tool] += found
        return doubts

    def fold(self, doubt: Doubt, votes: Sequence[Vote]) -> None:
        self.flips[doubt.course.tool] += fold(doubt.course, votes, doubt.stretch.changes)

    def _begin(self, tool: int) -> Course:
        votes = RunningVotes(days={} if self.weighs_age else None)
        return Course(tool, self.rulebooks[0], votes=votes)


def compare(in_force: Side, tried: Side) -> tuple[TriedTool, ...]:
    """In the order of the tools' numbers."""
    before, after = _tried(in_force), _tried(tried)
    return tuple(
        TriedTool(tool, before[tool], after[tool], _disagree(verdict, tried.rulebook))
        for tool, verdict in sorted(tried.verdicts.items())
    )


def _tried(side: Side) -> dict[int, Tried]:
    ranks = rank_all(side.verdicts, side.rulebook)
    return {
        tool: Tried(verdict.label, verdict.margin, ranks[tool], _in_order(side.flips[tool]))
        for tool, verdict in side.verdicts.items()
    }


def _in_order(flips: Iterable[Flip]) -> tuple[Flip, ...]:
    return tuple(sorted(flips, key=lambda flip: flip.place))


def rank_all(verdicts: Mapping[int, Outcome], rulebook: Rulebook) -> dict[int, int]:
    """By the rulebook's clauses, from 1. Tools that no clause tells apart share a rank."""
    values = {tool: _values(verdict, rulebook) for tool, verdict in verdicts.items()}
    ranks: dict[Rank, int] = {}
    for place, value in enumerate(sorted(values.values(), reverse=True), 1):
        ranks.setdefault(value, place)
    return {tool: ranks[value] for tool, value in values.items()}


def _values(verdict: Outcome, rulebook: Rulebook) -> Rank:
    """What is missing comes after what is there."""
    values = [value_by(clause, verdict, rulebook) for clause in rulebook.comparison]
    return tuple((value is not None, value or Fraction(0)) for value in values)


def _disagree(verdict: Outcome, rulebook: Rulebook) -> bool:
    panel, votes = verdict.panel, verdict.community
    opposed = (panel.ship - panel.skip) * (votes.ship - votes.skip) < 0
    return opposed and votes.total >= rulebook.community.minimum
