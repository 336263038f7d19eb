"""Plots: the geometry of a trial's results as numbers for the templates: horizontal in per cent, vertical in pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta

from msgspec import Struct

from services.api.views.trials import RankMove

HALF = 72  # pixels: the height of the longest bar above, or below, the time axis
_BARS_MAX = 48
_BAR_WIDTH_MAX = 2.5  # per cent
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_UNITS = ("day", "week", *_MONTHS)
_VOTES = (1, 2, 3, 6, 11, 31, 101, 301)
_TAKES = (1, 2, 3, 4, 5)


class Period(Struct, frozen=True):
    """The flips of the period that begins at ``start``, and their bars: the center, and the heights up and down."""

    start: date
    tried: int
    in_force: int
    x: float
    up: float
    down: float


class Timeline(Struct, frozen=True):
    """``below``: the height of the longest bar below the axis. ``ticks``: (text, x, anchor) of the first, middle and last period."""

    unit: str
    periods: list[Period]
    width: float
    count_max: int
    below: float
    ticks: list[tuple[str, float, str]]


class Row(Struct, frozen=True):
    """A range of margins: the number of verdicts in it on either side, and the lengths of their bars."""

    name: str
    in_force: int
    tried: int
    was: float
    would: float


class Dumbbell(Struct, frozen=True):
    move: RankMove
    was: float
    would: float


def timeline(tried: Collection[datetime], in_force: Collection[datetime]) -> Timeline | None:
    """Flips by the shortest unit that gives at most ``_BARS_MAX`` periods; None without flips."""
    if not tried and not in_force:
        return None
    first, last = min((*tried, *in_force)).date(), max((*tried, *in_force)).date()
    unit, starts = _fitting(first, last)
    counts = [Counter(_start(each.date(), unit) for each in side) for side in (tried, in_force)]
    count_max = max(max(side.values(), default=0) for side in counts)
    width = 100 / len(starts)
    periods = [
        _period(start, number * width + width / 2, counts[0][start], counts[1][start], count_max)
        for number, start in enumerate(starts)
    ]
    below = max(each.down for each in periods)
    return Timeline(unit, periods, min(width * 0.8, _BAR_WIDTH_MAX), count_max, below, _ticks(periods, unit))


def votes_distribution(in_force: Iterable[int | None], tried: Iterable[int | None]) -> list[Row]:
    return _distribution(in_force, tried, _VOTES)


def takes_distribution(in_force: Iterable[int | None], tried: Iterable[int | None]) -> list[Row]:
    return _distribution(in_force, tried, _TAKES)


def dumbbells(moves: Sequence[RankMove], tools: int) -> list[Dumbbell]:
    """With rank 1 on the left."""
    return [Dumbbell(move, _place(move.before, tools), _place(move.after, tools)) for move in moves]


def _place(rank: int, tools: int) -> float:
    """In per cent, with room for the radius of a dot at both ends."""
    return round(3 + 94 * (rank - 1) / max(tools - 1, 1), 2)


def _fitting(first: date, last: date) -> tuple[str, list[date]]:
    for unit in _UNITS:
        starts = list(_starts(first, last, unit))
        if len(starts) <= _BARS_MAX:
            break
    return unit, starts


def _starts(first: date, last: date, unit: str) -> Iterator[date]:
    """The first day of every period from ``first`` to ``last``; stops after one more than ``_BARS_MAX``."""
    start = _start(first, unit)
    for _ in range(_BARS_MAX + 1):
        if start > last:
            return
        yield start
        start = _start(
            start + timedelta({"day": 1, "week": 7, "month": 31, "quarter": 92, "year": 366}[unit]),
            unit,
        )


def _start(day: date, unit: str) -> date:
    if unit == "day":
        return day
    if unit == "week":
        return day - timedelta(day.weekday())
    months = _MONTHS[unit]
    return date(day.year, (day.month - 1) // months * months + 1, 1)


def _period(start: date, x: float, tried: int, in_force: int, count_max: int) -> Period:
    return Period(
        start, tried, in_force, round(x, 3), _share(tried, count_max, HALF), _share(in_force, count_max, HALF)
    )


def _ticks(periods: Sequence[Period], unit: str) -> list[tuple[str, float, str]]:
    shown = {0: "start", len(periods) // 2: "middle", len(periods) - 1: "end"}
    if len(periods) < 5:
        shown = dict.fromkeys(shown, "middle")
    return [
        (period_name(periods[n].start, unit), periods[n].x, anchor) for n, anchor in sorted(shown.items())
    ]


def period_name(start: date, unit: str) -> str:
    """The name of a period."""
    if unit in ("day", "week"):
        return f"{start.day} {start:%B %Y}"
    return f"{start.year}" if unit == "year" else f"{start:%B %Y}"


def _distribution(
    in_force: Iterable[int | None], tried: Iterable[int | None], starts: Sequence[int]
) -> list[Row]:
    """One row per range; the last row is for verdicts that nothing can flip."""
    was, would = (Counter(_range(each, starts) for each in side) for side in (in_force, tried))
    count_max = max([1, *was.values(), *would.values()])
    return [
        Row(name, was[n], would[n], _share(was[n], count_max, 100), _share(would[n], count_max, 100))
        for n, name in enumerate([*_names(starts), "None"])
    ]


def _range(margin: int | None, starts: Sequence[int]) -> int:
    return len(starts) if margin is None else sum(start <= margin for start in starts) - 1


def _names(starts: Sequence[int]) -> Iterator[str]:
    for start, after in zip(starts, (*starts[1:], None), strict=True):
        if after is None:
            yield f"{start} and more"
        else:
            yield f"{start}" if after == start + 1 else f"{start} to {after - 1}"


def _share(count: int, count_max: int, length: int) -> float:
    """The length of a bar: 0 for none, and otherwise long enough to be visible."""
    return round(max(count * length / count_max, 1.5), 2) if count else 0
