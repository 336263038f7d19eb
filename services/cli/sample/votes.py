"""Half a year of sample votes, made by a seeded program.

All moments are drawn as an age, the time before the sample is loaded, so that tallies, flips and orders are the same
whenever that is. Days and weeks have their rhythm, though not that of the calendar.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from random import Random

from msgspec import Struct

from eventstore.cast_batch import Kind
from services.cli.sample.catalogue import SampleTool, SampleVotes

SEED = 2026
VOTERS = 2_400
_AT_LAUNCH = 0.25  # of a tool's voters come in the days after it is listed
_IN_A_SPIKE = 0.2
_CHANGED = 0.06  # of the votes are changed later
_RETRACTED = 0.015
_BOOKMARKED = 0.05
_WEEKEND = 0.6  # of a working day's votes
_BY_HOUR = (
    10,
    11,
    11,
    10,
    9,
    8,
    8,
    8,
    7,
    5,
    3,
    2,
    1,
    1,
    1,
    1,
    2,
    3,
    5,
    8,
    10,
    11,
    10,
    9,
)  # before the present hour
_HOUR_MAX = max(_BY_HOUR)
_DAY = timedelta(days=1)
_YOUNGEST = timedelta(minutes=2)


class SampleCast(Struct, frozen=True):
    """A vote ('v') or a bookmark ('b') by the voter of this number; ``choice`` None takes it back."""

    age: timedelta
    kind: Kind
    tool: str
    voter: int
    choice: str | None


def sample_casts(tools: list[SampleTool], seed: int = SEED) -> list[SampleCast]:
    """The oldest first."""
    rng = Random(seed)  # noqa: S311 - a sample, not a secret
    casts = [cast for tool in tools if tool.votes for cast in _casts_on(rng, tool, tool.votes)]
    return sorted(casts, key=lambda cast: -cast.age)


def _casts_on(rng: Random, tool: SampleTool, votes: SampleVotes) -> Iterator[SampleCast]:
    for voter in rng.sample(range(VOTERS), votes.count):
        age = _age(rng, tool.listed, votes.spike)
        first, last = votes.ship
        choice = "ship" if rng.random() < last + (first - last) * (age / _DAY) / tool.listed else "skip"
        yield SampleCast(age, "v", tool.slug, voter, choice)
        if rng.random() < _BOOKMARKED:
            yield SampleCast(age - timedelta(seconds=rng.randrange(5, 90)), "b", tool.slug, voter, "saved")
        yield from _second_thoughts(rng, SampleCast(age, "v", tool.slug, voter, choice))


def _second_thoughts(rng: Random, cast: SampleCast) -> Iterator[SampleCast]:
    later = _YOUNGEST + (cast.age - _YOUNGEST) * rng.random()
    fate = rng.random()
    if fate < _CHANGED:
        other = "skip" if cast.choice == "ship" else "ship"
        yield SampleCast(later, "v", cast.tool, cast.voter, other)
    elif fate < _CHANGED + _RETRACTED:
        yield SampleCast(later, "v", cast.tool, cast.voter, None)


def _age(rng: Random, listed: int, spike: int | None) -> timedelta:
    """Less than ``listed`` days, and by rejection more often in the busy hours of a working day."""
    while True:
        age = _days(rng, listed, spike) * _DAY
        busy = _BY_HOUR[int(age / timedelta(hours=1)) % 24] / _HOUR_MAX
        busy *= _WEEKEND if age.days % 7 in (2, 3) else 1
        if _YOUNGEST < age < (listed - 1) * _DAY and rng.random() < busy:
            return age


def _days(rng: Random, listed: int, spike: int | None) -> float:
    """Some at launch and at the spike; the others in growing numbers."""
    kind = rng.random()
    if kind < _AT_LAUNCH:
        return listed - 1 - rng.expovariate(1 / 6)
    if spike is not None and kind < _AT_LAUNCH + _IN_A_SPIKE:
        return spike - rng.expovariate(1 / 2)
    return float(listed * (1 - rng.random() ** 0.6))
