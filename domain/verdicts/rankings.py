"""Rankings: the orders of a list of tools. Greater ranks come first.

Ranks are tuples of whole numbers, so that a pagination cursor can hold one exactly.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import Literal, assert_never

from msgspec import Struct

from domain.rulebooks.rulebook import Rulebook
from domain.verdicts.activity import RecentActivity
from domain.verdicts.statistics import wilson_lower_bound

Sort = Literal["top", "hot", "trending", "controversial", "most-voted", "new"]
Rank = tuple[int, ...]

_PLACES = 10**30
_DIGITS = Context(prec=28, rounding=ROUND_HALF_EVEN)


class Contender(Struct, frozen=True):
    """The part of a tool that orders depend on: current votes, and current takes with the sum of their scores."""

    ship: int = 0
    skip: int = 0
    takes_ship: int = 0
    takes_skip: int = 0
    score_total: int = 0
    recent_activity: RecentActivity = RecentActivity()

    @property
    def total(self) -> int:
        return self.ship + self.skip


def rank(sort: Sort, tool: Contender, rulebook: Rulebook) -> Rank:
    match sort:
        case "top":
            return _top(tool, rulebook)
        case "hot":
            return (tool.recent_activity.decayed_votes, *_top(tool, rulebook))
        case "trending":
            return (int(tool.recent_activity.trends), tool.recent_activity.growth, *_top(tool, rulebook))
        case "controversial":
            return (controversy(tool.ship, tool.skip), *_top(tool, rulebook))
        case "most-voted":
            return (tool.total, *_top(tool, rulebook))
        case "new":
            return ()
        case _:
            assert_never(sort)


def _top(tool: Contender, rulebook: Rulebook) -> Rank:
    """Tallies with a quorum first; then by the lower bound of the community's share, the panel, and fewer votes for skip.

    The lower bound is 0 without votes for ship, so that the panel decides.
    """
    takes = tool.takes_ship + tool.takes_skip
    return (
        int(tool.total >= rulebook.community.minimum),
        wilson_lower_bound(tool.ship, tool.skip, rulebook.z),
        _PLACES * tool.takes_ship // takes if takes else -1,
        _PLACES * tool.score_total // takes if takes else -1,
        -tool.skip,
    )


@lru_cache(100_000)
def controversy(ship: int, skip: int) -> int:
    """total ** (smaller side / larger side), in millionths, rounded half to even; 0 if all votes are on one side.

    Reddit's formula (r2/lib/db/_sorts.pyx), as exp(ln(total) * smaller / larger). Decimal functions are correctly
    rounded, so the result is the same on every machine.
    """
    smaller, larger = sorted((ship, skip))
    if not smaller:
        return 0
    c = _DIGITS
    exponent = c.divide(c.multiply(c.ln(Decimal(ship + skip)), Decimal(smaller)), Decimal(larger))
    return int(c.exp(exponent).scaleb(6, c).to_integral_value(ROUND_HALF_EVEN, c))
