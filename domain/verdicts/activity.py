"""Recent activity of a tool: its current votes by the days of their casts, for the orders hot and trending.

A person's vote counts once, however often it is cast again. Days are UTC, counted back from the newest event.
"""

from __future__ import annotations

from math import isqrt

from msgspec import Struct

HALF_LIFE_DAYS = 2
HALF_LIVES_MAX = 16

RECENT_DAYS = 2
PAST_DAYS = 28

VOTES_MIN = 5
_HOURS_PER_DAY = 24
_PAST_HOURS = PAST_DAYS * _HOURS_PER_DAY
_PRIOR_VOTES = 10
_SIGMAS = 3
_SCALE = 10**9


class RecentActivity(Struct, frozen=True):
    """``decayed_votes`` is the sum of the weights of a tool's votes. ``recent`` counts those cast today and yesterday, of
    which ``hours`` have passed, 25 to 48; ``past`` counts those of the 28 days before.
    """

    decayed_votes: int = 0
    recent: int = 0
    past: int = 0
    hours: int = RECENT_DAYS * _HOURS_PER_DAY

    @property
    def trends(self) -> bool:
        """Whether votes arrive faster than before: at least five recent ones, and three sigmas more than expected.

        At an unchanged rate, each vote is recent with probability a = hours / (hours + 672), given their total number
        (Przyborowski and Wilenski 1940). The score test of that share (Wilson 1927), in whole numbers, is
        (p - a)^2 > 9 a (1 - a) / n, times ((hours + 672) n)^2.
        """
        over = _PAST_HOURS * self.recent - self.hours * self.past
        variance = _PAST_HOURS * self.hours * (self.recent + self.past)
        return self.recent >= VOTES_MIN and over > 0 and over * over > _SIGMAS * _SIGMAS * variance

    @property
    def growth(self) -> int:
        """The recent rate of votes over the past rate, in units of 10**-9, rounded down.

        (recent + 10) / (expected + 10): ten prior votes keep the ratio finite and small after a silence (the mean of a
        gamma-Poisson model, as DuMouchel 1999 shrinks rates).
        """
        observed = _PAST_HOURS * (self.recent + _PRIOR_VOTES)
        return _SCALE * observed // (self.hours * self.past + _PAST_HOURS * _PRIOR_VOTES)


def weight(age: int) -> int:
    """The weight of a vote cast ``age`` days before: floor(2**(16 - age/2)), 0 after 16 half-lives.

    Exponential decay (Cormode, Shkapenyuk, Srivastava and Xu 2009): the ratio of two weights does not change as both age.
    """
    days_left = HALF_LIFE_DAYS * HALF_LIVES_MAX - age
    return isqrt(1 << days_left) if days_left >= 0 else 0


WEIGHTS = [weight(age) for age in range(HALF_LIFE_DAYS * HALF_LIVES_MAX + 1)]


def day_and_hours(hour: int) -> tuple[int, int]:
    """The day of an hour since 1970, and the number of hours since the start of the day before, this one included."""
    day, hour_of_day = divmod(hour, _HOURS_PER_DAY)
    return day, _HOURS_PER_DAY + hour_of_day + 1
