"""Courses: the verdict of one tool along the log, event by event, or in one leap over what cannot flip it.

A label only rises with votes for ship and only falls with votes for skip (labels.py). If it is the same at the best and
at the worst that the votes can have come to in a stretch of events, it was the same all along, in whatever order they came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy

from msgspec import Struct

from domain.rulebooks.rulebook import Label, Rulebook
from domain.timeline.flips import Flip, LogOrder
from domain.timeline.running_votes import RunningVotes
from domain.timeline.transitions import DAY, VoteEvent, order_of
from domain.timeline.vote_delta import VoteDelta, label_within
from domain.verdicts.labels import Rule, rule_at
from domain.verdicts.verdict import Judgement, counted_takes


class TakeChange(Struct, frozen=True):
    """A take was published, or withdrawn where ``judgement`` is None. ``event`` is the type of the event at the place."""

    place: LogOrder
    event: str
    reviewer: str
    judgement: Judgement | None


class RulebookChange(Struct, frozen=True):
    place: LogOrder
    event: str
    rulebook: Rulebook


Change = TakeChange | RulebookChange


class VerdictTimeline:
    """Everything that a verdict depends on, and its label. ``votes`` may be given to it as they stand."""

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
        self._weigh_by(rulebook)

    def copy(self, changes: Sequence[Change] = ()) -> VerdictTimeline:
        """As it is, to be followed through a stretch with these changes, and no others."""
        other = copy(self)
        aged = any(isinstance(each, RulebookChange) and each.rulebook.weighs_age for each in changes)
        other.votes = self.votes.copy(whole=aged)
        return other

    def follow(self, votes: Sequence[VoteEvent]) -> list[Flip]:
        """Vote by vote, in the log's order."""
        flips: list[Flip] = []
        label = self._rule.label
        for vote in votes:
            moved = vote[3]
            self.votes.count(moved, vote[0] // DAY, vote[4])
            after = label(self.votes.weighed())
            if after != self.label:
                flips.append(self._turn(after, order_of(vote), moved.event))
        return flips

    def change(self, change: Change) -> Flip | None:
        if isinstance(change, RulebookChange):
            self._weigh_by(change.rulebook)
        else:
            self.takes = with_take(self.takes, change.reviewer, change.judgement)
            self._rule = rule_of(self.rulebook, self.takes)
        after = self._rule.label(self.votes.weighed())
        return None if after == self.label else self._turn(after, change.place, change.event)

    def can_flip(self, delta: VoteDelta) -> bool:
        """Whether, for all that is known, the votes of such a stretch can flip the verdict on the way."""
        return label_within(self._rule, self.votes.bounds(delta)) != self.label

    def fast_forward(self, delta: VoteDelta) -> None:
        """Over a stretch of votes that cannot flip the verdict."""
        self.votes.fast_forward(delta)

    def fast_forward_through(self, delta: VoteDelta, changes: Sequence[Change]) -> list[Flip] | None:
        """Over a stretch in which these changes happened too, wherever among the votes; None where it cannot be leapt.

        Each change is judged with the votes anywhere within the bounds of the stretch.
        """
        bounds, standing = self.votes.bounds(delta), self._rule
        book, takes, flips = self.rulebook, self.takes, list[Flip]()
        before = label_within(standing, bounds)
        if before != self.label:
            return None
        for change in changes:
            if isinstance(change, RulebookChange):
                book = change.rulebook
                bounds = self.votes.bounds_under(book, delta)
            else:
                takes = with_take(takes, change.reviewer, change.judgement)
            standing = rule_of(book, takes)
            after = label_within(standing, bounds)
            if after is None:
                return None
            if after != before:
                flips.append(Flip(self.tool, before, after, change.place, change.event, book.digest))
            before = after
        self._go_on(delta, book, takes, standing)
        return flips

    def advance_past(self, delta: VoteDelta, changes: Sequence[Change]) -> None:
        """To the end of a stretch, whatever flipped on the way."""
        book, takes = self.rulebook, self.takes
        for change in changes:
            if isinstance(change, RulebookChange):
                book = change.rulebook
            else:
                takes = with_take(takes, change.reviewer, change.judgement)
        self._go_on(delta, book, takes, rule_of(book, takes) if changes else self._rule)

    def _go_on(self, delta: VoteDelta, book: Rulebook, takes: dict[str, Judgement], standing: Rule) -> None:
        self.takes = takes
        if book is not self.rulebook:
            self._weigh_by(book)
        self._rule = standing
        self.votes.fast_forward(delta)
        self.label = standing.label(self.votes.weighed())

    def _weigh_by(self, rulebook: Rulebook) -> None:
        self.rulebook = rulebook
        self.votes.follow(rulebook)
        self._rule = rule_of(rulebook, self.takes)

    def _turn(self, after: Label, place: LogOrder, event: str) -> Flip:
        before, self.label = self.label, after
        return Flip(self.tool, before, after, place, event, self.rulebook.digest)


def rule_of(rulebook: Rulebook, takes: Mapping[str, Judgement]) -> Rule:
    panel = rulebook.panel
    if panel.weight == 0:
        return rule_at(rulebook, 0, 0)
    counted = counted_takes(list(takes.values()), panel)
    if len(counted) < panel.quorum:
        return rule_at(rulebook, 0, 0)
    total = worth = 0
    for weight, each in counted:
        total += weight
        worth += weight * each
    return rule_at(rulebook, worth, 100 * total)


def with_take(
    takes: Mapping[str, Judgement], reviewer: str, judgement: Judgement | None
) -> dict[str, Judgement]:
    """The takes after one was published or withdrawn."""
    after = dict(takes)
    after.pop(reviewer, None)
    if judgement is not None:
        after[reviewer] = judgement
    return after
