"""Cells: what a stretch of one tool's events did to its votes, in numbers, and how far votes can have been on the way."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from domain.ages import Weighed
from domain.labels import Rule
from domain.rulebooks import Label, Rulebook

# Of the casts of one day: (day, ship_in, ship_out, skip_in, skip_out).
DayMoves: TypeAlias = tuple[int, int, int, int, int]


class Cell(Struct, frozen=True):
    """How many casts brought a ship or a skip, and how many took one back: whose replacement or retraction came.

    ``until`` is the day of the last event, and ``days`` has the same four numbers by the day of the casts that came
    or went; both are needed only where a rulebook weighs age.
    """

    ship_in: int = 0
    ship_out: int = 0
    skip_in: int = 0
    skip_out: int = 0
    until: int | None = None
    days: tuple[DayMoves, ...] = ()

    def __add__(self, other: Cell) -> Cell:
        """Both together, of one stretch."""
        ends = [each for each in (self.until, other.until) if each is not None]
        return Cell(
            self.ship_in + other.ship_in,
            self.ship_out + other.ship_out,
            self.skip_in + other.skip_in,
            self.skip_out + other.skip_out,
            max(ends, default=None),
            self.days + other.days,
        )


class Bounds(Struct, frozen=True):
    """Between what the votes lie: their number, what those of each side weigh, and what one cast today would weigh."""

    count: tuple[int, int]
    ship: tuple[int, int]
    skip: tuple[int, int]
    unit: tuple[int, int] = (1, 1)


def bounds_of(ship: tuple[int, int], skip: tuple[int, int]) -> Bounds:
    """Where no age is weighed. There are no fewer than none."""
    low = max(ship[0], 0), max(skip[0], 0)
    return Bounds((sum(low), ship[1] + skip[1]), (low[0], ship[1]), (low[1], skip[1]))


def label_within(standing: Rule, bounds: Bounds) -> Label | None:
    """The label wherever in these bounds the votes are; None where it may be one or another.

    As if there were enough votes, it is the same everywhere if it is at the best and at the worst, each with the
    narrowest interval and with the widest. Where there may be too few, the label without votes has to be the same too.
    """
    book = standing.book
    minimum = book.community.minimum
    if not book.weighs_votes or bounds.count[1] < minimum:
        return standing.alone
    narrow, wide = bounds.unit
    if narrow != wide and _is_torn(book):
        return None
    (ship_low, ship_high), (skip_low, skip_high) = bounds.ship, bounds.skip
    if not (ship_low + skip_high and ship_high + skip_low):
        return None
    found = standing.label(Weighed(minimum, ship_high, ship_high + skip_low, narrow))
    if bounds.count[0] < minimum and standing.alone != found:
        return None
    others = [Weighed(minimum, ship_low, ship_low + skip_high, narrow)]
    if narrow != wide:
        others.append(Weighed(minimum, ship_high, ship_high + skip_low, wide))
        others.append(Weighed(minimum, ship_low, ship_low + skip_high, wide))
    return found if all(standing.label(each) == found for each in others) else None


def _is_torn(book: Rulebook) -> bool:
    """Where the interval both makes the label and vetoes it, a wider one can first raise it and then lower it."""
    return book.community.bound == "interval" and book.community.weight > 0 and book.veto_bar is not None
