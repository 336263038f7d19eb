"""Heat: how much is going on around a tool, from the days on which the votes that stand were cast.

One person's vote is one vote, however often it is cast anew. Days are UTC, and counted back from the newest event.
"""

from __future__ import annotations

from math import isqrt

from msgspec import Struct

HALF_LIFE_DAYS = 2
HALF_LIVES_MAX = 16

RECENT_DAYS = 2
PAST_DAYS = 28

VOTES_MIN = 5
_DAY = 24
_PAST_HOURS = PAST_DAYS * _DAY
_AS_EXPECTED = 10
_SIGMAS = 3
_SCALE = 10**9


class RecentActivity(Struct, frozen=True):
    """``decayed_votes`` is the sum of what a tool's votes weigh, ``recent`` how many were cast today and yesterday, and ``past``
    how many in the 28 days before. Of today and yesterday ``hours`` have gone by, 25 to 48.
    """

    decayed_votes: int = 0
    recent: int = 0
    past: int = 0
    hours: int = RECENT_DAYS * _DAY

    @property
    def trends(self) -> bool:
        """Whether votes come faster than before, by more than chance: at least five, and three sigmas too many.

        Were the rate the same, each of the votes would be recent with probability a = hours / (hours + 672), given how
        many there are (Przyborowski and Wilenski 1940). That share is tested by its score (Wilson 1927), in whole
        numbers: (p - a)^2 > 9 a (1 - a) / n, times ((hours + 672) n)^2.
        """
        over = _PAST_HOURS * self.recent - self.hours * self.past
        variance = _PAST_HOURS * self.hours * (self.recent + self.past)
        return self.recent >= VOTES_MIN and over > 0 and over * over > _SIGMAS * _SIGMAS * variance

    @property
    def growth(self) -> int:
        """How many times its own past rate a tool has now, in thousand millionths, rounded down.

        (recent + 10) / (expected + 10): as if ten votes more had been expected, and had come. So a few votes after
        silence are not infinitely many times more (the mean of a gamma-Poisson model, as DuMouchel 1999 shrinks rates).
        """
        came = _PAST_HOURS * (self.recent + _AS_EXPECTED)
        return _SCALE * came // (self.hours * self.past + _PAST_HOURS * _AS_EXPECTED)


def weight(age: int) -> int:
    """Of a vote cast ``age`` days before: floor(2**(16 - age/2)), so nothing after 16 half-lives.

    Exponential decay counted forward (Cormode, Shkapenyuk, Srivastava and Xu 2009): of two votes the later one weighs more
    by a ratio that does not change while both grow older.
    """
    halves = HALF_LIFE_DAYS * HALF_LIVES_MAX - age
    return isqrt(1 << halves) if halves >= 0 else 0


WEIGHTS = [weight(age) for age in range(HALF_LIFE_DAYS * HALF_LIVES_MAX + 1)]


def day_and_hours(hour: int) -> tuple[int, int]:
    """Of an hour since 1970: its day, and how many hours since the day before began, with itself."""
    day, of_day = divmod(hour, _DAY)
    return day, _DAY + of_day + 1
