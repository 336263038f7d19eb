"""Rankings: the orders in which a list of tools can be read. Greater ranks come first."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Literal, assert_never

from domain.verdicts import Tally, Verdict

Sort = Literal["top", "hot", "controversial", "most-voted", "new"]
Rank = tuple[int, ...]

HOT_WINDOW = timedelta(days=3)
_TEN_THOUSAND = 10_000


def rank(sort: Sort, verdict: Verdict, recent_casts: int) -> Rank:
    """Whole numbers, so that a rank can be written into a cursor and read back exactly."""
    match sort:
        case "top":
            return _top(verdict)
        case "hot":
            return (recent_casts, *_top(verdict))
        case "controversial":
            return (_controversy(verdict.community), *_top(verdict))
        case "most-voted":
            return (verdict.community.total, *_top(verdict))
        case "new":
            return ()
        case _:
            assert_never(sort)


def _top(verdict: Verdict) -> Rank:
    """The lower bound of the community's interval; before there are votes, the panel."""
    interval = verdict.community.interval
    return (
        _whole(interval and interval[0]),
        _whole(verdict.panel.share),
        _whole(verdict.panel.mean_score),
    )


def _controversy(tally: Tally) -> int:
    """Many votes, evenly split: the total weighed by the smaller side over the larger, in ten-thousandths."""
    larger = max(tally.ship, tally.skip)
    return _TEN_THOUSAND * tally.total * min(tally.ship, tally.skip) // larger if larger else 0


def _whole(value: Decimal | None) -> int:
    return -1 if value is None else int(value * _TEN_THOUSAND)
