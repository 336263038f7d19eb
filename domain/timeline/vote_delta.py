"""Vote deltas: the change of one tool's vote counts over a time slice, and the bounds of the counts within it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from domain.rulebooks.rulebook import Label, Rulebook
from domain.verdicts.labels import Rule


class VotesByDay(Struct, frozen=True):
    """Votes by the day of their casts, as three columns. A day may occur more than once."""

    days: Sequence[int] = ()
    ship: Sequence[int] = ()
    skip: Sequence[int] = ()

    def __add__(self, other: VotesByDay) -> VotesByDay:
        if not self.days:
            return other
        return VotesByDay([*self.days, *other.days], [*self.ship, *other.ship], [*self.skip, *other.skip])


NO_DAYS = VotesByDay()


class VoteDelta(Struct, frozen=True):
    """``*_in`` are votes that were added, ``*_out`` votes that were removed by a replacement or a retraction.

    ``until`` is the day of the last event. ``added`` and ``removed`` are the same votes by the day of their casts; they
    are needed only where a rulebook weighs age.
    """

    ship_in: int = 0
    ship_out: int = 0
    skip_in: int = 0
    skip_out: int = 0
    until: int | None = None
    added: VotesByDay = NO_DAYS
    removed: VotesByDay = NO_DAYS

    def __add__(self, other: VoteDelta) -> VoteDelta:
        """Two deltas of the same slice, of different shards or ranges."""
        ends = [each for each in (self.until, other.until) if each is not None]
        return VoteDelta(
            self.ship_in + other.ship_in,
            self.ship_out + other.ship_out,
            self.skip_in + other.skip_in,
            self.skip_out + other.skip_out,
            max(ends, default=None),
            self.added + other.added,
            self.removed + other.removed,
        )


class DeltaWeights(Struct, frozen=True):
    """The weights of the votes of a delta, on the scale of the sums they were weighed for."""

    ship_in: int
    ship_out: int
    skip_in: int
    skip_out: int


class Bounds(Struct, frozen=True):
    """Lowest and highest: the number of votes, the weight of each side, and the weight of a vote cast today."""

    count: tuple[int, int]
    ship: tuple[int, int]
    skip: tuple[int, int]
    vote_weight_today: tuple[int, int] = (1, 1)


def bounds_of(ship: tuple[int, int], skip: tuple[int, int]) -> Bounds:
    """Bounds under a rulebook that does not weigh age. A count below 0 is raised to 0."""
    if ship[0] < 0:
        ship = 0, ship[1]
    if skip[0] < 0:
        skip = 0, skip[1]
    return Bounds((ship[0] + skip[0], ship[1] + skip[1]), ship, skip)


def label_within(rule: Rule, bounds: Bounds) -> Label | None:
    """The label if it is the same everywhere within the bounds, else None.

    While the quorum holds, it is enough to compare the highest and the lowest tally, each with the narrowest and the
    widest interval. Where votes may fall below the quorum, the label must also be the panel's.
    """
    narrow, wide = bounds.vote_weight_today
    if narrow != wide and _interval_raises_and_lowers(rule.book):
        return None
    first = _label_at_weight(rule, bounds.count, bounds.ship, bounds.skip, narrow)
    if narrow == wide or first is None:
        return first
    return first if _label_at_weight(rule, bounds.count, bounds.ship, bounds.skip, wide) == first else None


def _label_at_weight(
    rule: Rule,
    count: tuple[int, int],
    ship: tuple[int, int],
    skip: tuple[int, int],
    vote_weight_today: int,
) -> Label | None:
    """``label_within`` where a vote cast today weighs this much throughout."""
    minimum = rule.book.community.minimum
    if count[1] < minimum or not rule.book.weighs_votes:
        return rule.panel_label
    total_at_highest, total_at_lowest = ship[1] + skip[0], ship[0] + skip[1]
    if not (total_at_highest and total_at_lowest):
        return None
    found = rule.label_of(ship[0], total_at_lowest, vote_weight_today)
    if found != "Ship" and found != rule.label_of(ship[1], total_at_highest, vote_weight_today):
        return None
    return found if count[0] >= minimum or found == rule.panel_label else None


def _interval_raises_and_lowers(book: Rulebook) -> bool:
    """Whether the interval both makes the label and vetoes it: a wider one can first raise the label and then lower it."""
    return (
        book.community.bound == "interval" and book.community.weight > 0 and book.veto_threshold is not None
    )
