"""Sides of a trial: every tool's verdicts under the rulebooks that were in force, and under the one that is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TypeAlias

from domain.comparisons import value_by
from domain.courses import Adopted, Course
from domain.flips import Flip
from domain.rulebooks import Rulebook
from domain.running_votes import RunningVotes
from domain.trials import Tried, TriedTool
from domain.verdicts import Verdict, judge
from domain.walks import Stretch, Vote, explore, walk

Rank: TypeAlias = tuple[tuple[bool, Fraction], ...]


class Side:
    """It begins with a rulebook and goes on with those that are adopted."""

    def __init__(self, rulebook: Rulebook, adoptions: Sequence[Adopted] = ()) -> None:
        self.adoptions = tuple(adoptions)
        self.rulebooks = (rulebook, *(each.rulebook for each in adoptions))
        self.verdicts: dict[int, Verdict] = {}
        self.flips: dict[int, tuple[Flip, ...]] = {}

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

    def explore(self, tool: int, stretches: Iterable[Stretch]) -> set[int]:
        """The stretches of which the single votes are needed; when there are none, the tool is done with."""
        course = self._begin(tool)
        flips, doubtful = explore(course, stretches)
        if not doubtful:
            self._end(course, flips)
        return doubtful

    def walk(
        self, tool: int, stretches: Iterable[Stretch], votes_of: Callable[[int], Sequence[Vote]]
    ) -> None:
        course = self._begin(tool)
        self._end(course, walk(course, stretches, votes_of))

    def _begin(self, tool: int) -> Course:
        votes = RunningVotes(days={} if self.weighs_age else None)
        return Course(tool, self.rulebooks[0], votes=votes)

    def _end(self, course: Course, flips: Iterable[Flip]) -> None:
        self.flips[course.tool] = tuple(flips)
        takes = list(course.takes.values())
        self.verdicts[course.tool] = judge(takes, course.votes.ballots, self.rulebook)


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
        tool: Tried(verdict.label, verdict.margin, ranks[tool], side.flips[tool])
        for tool, verdict in side.verdicts.items()
    }


def rank_all(verdicts: Mapping[int, Verdict], rulebook: Rulebook) -> dict[int, int]:
    """By the rulebook's clauses, from 1. Tools that no clause tells apart share a rank."""
    values = {tool: _values(verdict, rulebook) for tool, verdict in verdicts.items()}
    ranks: dict[Rank, int] = {}
    for place, value in enumerate(sorted(values.values(), reverse=True), 1):
        ranks.setdefault(value, place)
    return {tool: ranks[value] for tool, value in values.items()}


def _values(verdict: Verdict, rulebook: Rulebook) -> Rank:
    """What is missing comes after what is there."""
    values = [value_by(clause, verdict, rulebook) for clause in rulebook.comparison]
    return tuple((value is not None, value or Fraction(0)) for value in values)


def _disagree(verdict: Verdict, rulebook: Rulebook) -> bool:
    panel, votes = verdict.panel, verdict.community
    opposed = (panel.ship - panel.skip) * (votes.ship - votes.skip) < 0
    return opposed and votes.total >= rulebook.community.minimum
