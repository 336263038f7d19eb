"""Plots: the geometry of what a trial found, as numbers for the templates. Lengths across are in per cent, down in pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta

from msgspec import Struct

from services.api.views.trials import RankMove

HALF = 72  # pixels that the longest bar has above, and below, the line of time
_BARS_MAX = 48
_WIDEST = 2.5  # per cent
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_UNITS = ("day", "week", *_MONTHS)
_VOTES = (1, 2, 3, 6, 11, 31, 101, 301)
_TAKES = (1, 2, 3, 4, 5)


class Period(Struct, frozen=True):
    """Counts of flips from ``start`` on, and their bars."""

    start: date
    tried: int
    in_force: int
    x: float
    up: float
    down: float


class Timeline(Struct, frozen=True):
    """``below``: the longest bar below the line. ``ticks``: first, middle and last period, where, and how anchored."""

    unit: str
    periods: list[Period]
    width: float
    most: int
    below: float
    ticks: list[tuple[str, float, str]]


class Row(Struct, frozen=True):
    """A range of margins: how many verdicts have one on either side, and how long those bars are."""

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
    """Flips by day, or the shortest unit that is not too many. None without any."""
    if not tried and not in_force:
        return None
    first, last = min((*tried, *in_force)).date(), max((*tried, *in_force)).date()
    unit, starts = _fitting(first, last)
    counts = [Counter(_start(each.date(), unit) for each in side) for side in (tried, in_force)]
    most = max(max(side.values(), default=0) for side in counts)
    width = 100 / len(starts)
    periods = [
        _period(start, number * width + width / 2, counts[0][start], counts[1][start], most)
        for number, start in enumerate(starts)
    ]
    below = max(each.down for each in periods)
    return Timeline(unit, periods, min(width * 0.8, _WIDEST), most, below, _ticks(periods, unit))


def votes_distribution(in_force: Iterable[int | None], tried: Iterable[int | None]) -> list[Row]:
    return _distribution(in_force, tried, _VOTES)


def takes_distribution(in_force: Iterable[int | None], tried: Iterable[int | None]) -> list[Row]:
    return _distribution(in_force, tried, _TAKES)


def dumbbells(moves: Sequence[RankMove], tools: int) -> list[Dumbbell]:
    """Rank 1 is on the left."""
    return [Dumbbell(move, _place(move.before, tools), _place(move.after, tools)) for move in moves]


def _place(rank: int, tools: int) -> float:
    """Within the plot by the radius of a dot."""
    return round(3 + 94 * (rank - 1) / max(tools - 1, 1), 2)


def _fitting(first: date, last: date) -> tuple[str, list[date]]:
    for unit in _UNITS:
        starts = list(_starts(first, last, unit))
        if len(starts) <= _BARS_MAX:
            break
    return unit, starts


def _starts(first: date, last: date, unit: str) -> Iterator[date]:
    """Of every period that the two days and those between lie in; ends early once there are too many."""
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


def _period(start: date, x: float, tried: int, in_force: int, most: int) -> Period:
    return Period(
        start, tried, in_force, round(x, 3), _share(tried, most, HALF), _share(in_force, most, HALF)
    )


def _ticks(periods: Sequence[Period], unit: str) -> list[tuple[str, float, str]]:
    shown = {0: "start", len(periods) // 2: "middle", len(periods) - 1: "end"}
    if len(periods) < 5:
        shown = dict.fromkeys(shown, "middle")
    return [(written(periods[n].start, unit), periods[n].x, anchor) for n, anchor in sorted(shown.items())]


def written(start: date, unit: str) -> str:
    """A period by its beginning."""
    if unit in ("day", "week"):
        return f"{start.day} {start:%B %Y}"
    return f"{start.year}" if unit == "year" else f"{start:%B %Y}"


def _distribution(
    in_force: Iterable[int | None], tried: Iterable[int | None], starts: Sequence[int]
) -> list[Row]:
    """A row a range; the last row is for verdicts that nothing could flip."""
    was, would = (Counter(_range(each, starts) for each in side) for side in (in_force, tried))
    most = max([1, *was.values(), *would.values()])
    return [
        Row(name, was[n], would[n], _share(was[n], most, 100), _share(would[n], most, 100))
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


def _share(count: int, most: int, length: int) -> float:
    """Never so short that one is not seen."""
    return round(max(count * length / most, 1.5), 2) if count else 0
