"""Timelines: the verdict of one tool along the log, event by event, or slice by slice where a slice cannot contain a flip.

A label only rises with votes for ship and only falls with votes for skip (domain/verdicts/labels.py). If it is the same
at the highest and at the lowest tally that a slice can reach, no vote of the slice flips it, whatever their order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from copy import copy

from domain.rulebooks.rulebook import Label, Rulebook
from domain.timeline.changes import Change, RulebookChange, with_take
from domain.timeline.flips import Flip, LogOrder
from domain.timeline.running_votes import RunningVotes
from domain.timeline.transitions import DAY_MICROSECONDS, VoteEvent, order_of_vote, vote_key
from domain.timeline.vote_delta import DeltaWeights, VoteDelta, label_within
from domain.verdicts.labels import Rule, rule_at
from domain.verdicts.verdict import Judgement, counted_takes


class VerdictTimeline:
    """The label of one tool and everything it depends on: the rulebook in force, the takes and the votes."""

    def __init__(
        self,
        tool: int,
        rulebook: Rulebook,
        *,
        label: Label = "Unreviewed",
        takes: Mapping[str, Judgement] = {},
        votes: RunningVotes | None = None,
    ) -> None:
        self.tool, self.label, self.takes = tool, label, dict(takes)
        self.votes = votes or RunningVotes(days={} if rulebook.weighs_age else None)
        self._follow_rulebook(rulebook)

    def copy(self, changes: Sequence[Change] = ()) -> VerdictTimeline:
        """An independent copy that can be advanced through a slice with these changes only."""
        other = copy(self)
        needs_all_days = any(
            isinstance(each, RulebookChange) and each.rulebook.weighs_age for each in changes
        )
        other.votes = self.votes.copy(all_days=needs_all_days)
        return other

    def fold(self, votes: Sequence[VoteEvent], changes: Iterable[Change] = ()) -> list[Flip]:
        """Advance event by event. Votes and changes are each in the order of the log."""
        flips: list[Flip] = []
        done = 0
        for change in changes:
            before = bisect_left(votes, vote_key(change.order), done)
            flips += self._fold_votes(votes[done:before])
            if (flip := self.change(change)) is not None:
                flips.append(flip)
            done = before
        return flips + self._fold_votes(votes[done:])

    def _fold_votes(self, votes: Sequence[VoteEvent]) -> list[Flip]:
        flips: list[Flip] = []
        label = self._rule.label
        for vote in votes:
            transition = vote[3]
            self.votes.count(transition, vote[0] // DAY_MICROSECONDS, vote[4])
            after = label(self.votes.weighed())
            if after != self.label:
                flips.append(self._flip(after, order_of_vote(vote), transition.event))
        return flips

    def change(self, change: Change) -> Flip | None:
        if isinstance(change, RulebookChange):
            self._follow_rulebook(change.rulebook)
        else:
            self.takes = with_take(self.takes, change)
            self._rule = rule_of(self.rulebook, self.takes)
        after = self._rule.label(self.votes.weighed())
        return None if after == self.label else self._flip(after, change.order, change.event)

    def fast_forward(
        self, delta: VoteDelta, weights: DeltaWeights | None, changes: Sequence[Change] = ()
    ) -> list[Flip] | None:
        """Advance past a slice without its single votes. Returns the flips that its changes cause.

        ``weights`` are ``votes.weigh(delta)``. Returns None, and changes nothing, if a vote may have flipped the verdict, or
        the delta does not determine the flips.
        """
        if changes:
            return self._fast_forward_through(delta, weights, changes)
        if label_within(self._rule, self.votes.bounds(delta, weights)) != self.label:
            return None
        self.votes.fast_forward(delta, weights)
        return []

    def _fast_forward_through(
        self, delta: VoteDelta, weights: DeltaWeights | None, changes: Sequence[Change]
    ) -> list[Flip] | None:
        """Each change is judged with the votes anywhere within the bounds of the slice."""
        book, takes, rule, flips = self.rulebook, self.takes, self._rule, list[Flip]()
        bounds = self.votes.bounds(delta, weights)
        before = label_within(rule, bounds)
        if before != self.label:
            return None
        for change in changes:
            if isinstance(change, RulebookChange):
                book = change.rulebook
                bounds = self.votes.bounds_under(book, delta)
            else:
                takes = with_take(takes, change)
            rule = rule_of(book, takes)
            after = label_within(rule, bounds)
            if after is None:
                return None
            if after != before:
                flips.append(Flip(self.tool, before, after, change.order, change.event, book.digest))
            before = after
        self._advance_to(delta, weights, book, takes, rule)
        return flips

    def advance_past(self, delta: VoteDelta, weights: DeltaWeights | None, changes: Sequence[Change]) -> None:
        """Advance to the end of a slice without finding its flips."""
        book, takes = self.rulebook, self.takes
        for change in changes:
            if isinstance(change, RulebookChange):
                book = change.rulebook
            else:
                takes = with_take(takes, change)
        self._advance_to(delta, weights, book, takes, rule_of(book, takes) if changes else self._rule)

    def _advance_to(
        self,
        delta: VoteDelta,
        weights: DeltaWeights | None,
        book: Rulebook,
        takes: dict[str, Judgement],
        rule: Rule,
    ) -> None:
        """``book``, ``takes`` and ``rule`` are those at the end of the slice."""
        self.takes = takes
        if book is not self.rulebook:
            self._follow_rulebook(book)
            weights = self.votes.weigh(delta)
        self._rule = rule
        self.votes.fast_forward(delta, weights)
        self.label = rule.label(self.votes.weighed())

    def _follow_rulebook(self, rulebook: Rulebook) -> None:
        self.rulebook = rulebook
        self.votes.follow(rulebook)
        self._rule = rule_of(rulebook, self.takes)

    def _flip(self, after: Label, order: LogOrder, event: str) -> Flip:
        before, self.label = self.label, after
        return Flip(self.tool, before, after, order, event, self.rulebook.digest)


def rule_of(rulebook: Rulebook, takes: Mapping[str, Judgement]) -> Rule:
    """The rulebook, reduced to a panel with these takes."""
    panel = rulebook.panel
    if panel.weight == 0:
        return rule_at(rulebook, 0, 0)
    counted = counted_takes(list(takes.values()), panel)
    if len(counted) < panel.quorum:
        return rule_at(rulebook, 0, 0)
    total = worth = 0
    for weight, take_worth in counted:
        total += weight
        worth += weight * take_worth
    return rule_at(rulebook, worth, 100 * total)
