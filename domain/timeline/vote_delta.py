"""Cells: what a stretch of one tool's events did to its votes, in numbers, and how far votes can have been on the way."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from domain.rulebooks.rulebook import Label, Rulebook
from domain.verdicts.labels import Rule


class VotesByDay(Struct, frozen=True):
    """Votes by the day of their casts: three columns. A day may be there more than once."""

    days: Sequence[int] = ()
    ship: Sequence[int] = ()
    skip: Sequence[int] = ()

    def __add__(self, other: VotesByDay) -> VotesByDay:
        if not self.days:
            return other
        return VotesByDay([*self.days, *other.days], [*self.ship, *other.ship], [*self.skip, *other.skip])


NO_DAYS = VotesByDay()


class VoteDelta(Struct, frozen=True):
    """How many casts brought a ship or a skip, and how many took one back: whose replacement or retraction came.

    ``until`` is the day of the last event; ``added`` and ``removed`` have the four numbers by the day of the casts that came
    or went. These are needed only where a rulebook weighs age.
    """

    ship_in: int = 0
    ship_out: int = 0
    skip_in: int = 0
    skip_out: int = 0
    until: int | None = None
    added: VotesByDay = NO_DAYS
    removed: VotesByDay = NO_DAYS

    def __add__(self, other: VoteDelta) -> VoteDelta:
        """Both together, of one stretch."""
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


class Bounds(Struct, frozen=True):
    """Between what the votes lie: their number, what those of each side weigh, and what one cast today would weigh."""

    count: tuple[int, int]
    ship: tuple[int, int]
    skip: tuple[int, int]
    vote_weight_today: tuple[int, int] = (1, 1)


def bounds_of(ship: tuple[int, int], skip: tuple[int, int]) -> Bounds:
    """Where no age is weighed. There are no fewer than none."""
    if ship[0] < 0:
        ship = 0, ship[1]
    if skip[0] < 0:
        skip = 0, skip[1]
    return Bounds((ship[0] + skip[0], ship[1] + skip[1]), ship, skip)


def label_within(standing: Rule, bounds: Bounds) -> Label | None:
    """The label wherever in these bounds the votes are; None where it may be one or another.

    As if there were enough votes, it is the same everywhere if it is at the best and at the worst, each with the
    narrowest interval and with the widest. Where there may be too few, the label without votes has to be the same too.
    """
    narrow, wide = bounds.vote_weight_today
    if narrow != wide and _is_torn(standing.book):
        return None
    first = _label_between(standing, bounds.count, bounds.ship, bounds.skip, narrow)
    if narrow == wide or first is None:
        return first
    return first if _label_between(standing, bounds.count, bounds.ship, bounds.skip, wide) == first else None


def _label_between(
    standing: Rule,
    count: tuple[int, int],
    ship: tuple[int, int],
    skip: tuple[int, int],
    vote_weight_today: int,
) -> Label | None:
    """The same, where a vote cast today weighs this much all along."""
    minimum = standing.book.community.minimum
    if count[1] < minimum or not standing.book.weighs_votes:
        return standing.panel_label
    best, worst = ship[1] + skip[0], ship[0] + skip[1]
    if not (best and worst):
        return None
    found = standing.label_of(ship[0], worst, vote_weight_today)
    if found != "Ship" and found != standing.label_of(ship[1], best, vote_weight_today):
        return None
    return found if count[0] >= minimum or found == standing.panel_label else None


def _is_torn(book: Rulebook) -> bool:
    """Where the interval both makes the label and vetoes it, a wider one can first raise it and then lower it."""
    return (
        book.community.bound == "interval" and book.community.weight > 0 and book.veto_threshold is not None
    )
