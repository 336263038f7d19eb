"""Shares: what panel and community come to, as exact ends; shown in four places, and how far the next label is."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import msgspec
from msgspec import Struct

from domain.rulebooks.rulebook import Label, Threshold
from domain.verdicts.decay import WeightedVotes
from domain.verdicts.intervals import End, exactly, wilson_interval
from domain.verdicts.labels import DecidedBy, Rule

Ends = tuple[End, End]
Interval = tuple[Decimal, Decimal]


class Shares(Struct, frozen=True):
    """What was compared with the bars, lower and upper end; None of what does not weigh. Both ends of a plain share are equal."""

    panel: Decimal | None
    community: Interval | None
    combined: Interval | None = msgspec.field(name="together")


class DistanceToNextLabel(Struct, frozen=True):
    """How much of a share is missing to the next label."""

    label: Label
    share: Decimal


def shares_of(standing: Rule, votes: WeightedVotes) -> Shares:
    """Rounded half to even."""
    panel, combined = _panel_part(standing), combined_of(standing, votes)
    community = _community_part(standing, votes)
    return Shares(
        None if panel is None else exactly(panel).rounded(),
        None if community is None else rounded(community),
        None if combined is None else rounded(combined),
    )


def _panel_part(standing: Rule) -> Fraction | None:
    return standing.panel if standing.book.panel.weight else None


def _community_part(standing: Rule, votes: WeightedVotes) -> Ends | None:
    community = standing.book.community
    if not standing.has_quorum(votes) or not community.weight:
        return None
    if community.bound == "interval":
        return wilson_interval(votes.ship, votes.total, votes.vote_weight_today, standing.book.z)
    return exactly(share_of(votes)), exactly(share_of(votes))


def share_of(votes: WeightedVotes) -> Fraction:
    return Fraction(votes.ship, votes.total)


def combined_of(standing: Rule, votes: WeightedVotes) -> Ends | None:
    panel, community = _panel_part(standing), _community_part(standing, votes)
    if panel is None or community is None:
        return community if panel is None else (exactly(panel), exactly(panel))
    mine, theirs = standing.book.panel.weight, standing.book.community.weight
    part = Fraction(theirs, mine + theirs)
    low, high = (end.times(part).plus(panel * (1 - part)) for end in community)
    return low, high


def rounded(ends: Ends) -> Interval:
    return ends[0].rounded(), ends[1].rounded()


def distance_of(
    standing: Rule, votes: WeightedVotes, label: Label, decided: DecidedBy
) -> DistanceToNextLabel | None:
    """None where panel and community say nothing, where a veto stands before the bars, and where no share changes the label."""
    combined = combined_of(standing, votes)
    if combined is None or decided == "veto":
        return None
    return min(_ways(standing, combined, label), key=lambda way: way.share, default=None)


def _ways(standing: Rule, combined: Ends, label: Label) -> list[DistanceToNextLabel]:
    """Across each bar that is beside the label: to what lies on the other side, and how far."""
    book = standing.book
    low, high = combined
    meet = book.ship_threshold.at == 1 - book.skip_threshold.at and (
        book.ship_threshold.inclusive or book.skip_threshold.inclusive
    )
    narrow = meet and low == high
    beside: tuple[tuple[Label, Label, Threshold, Decimal], ...] = (
        ("Ship", "Skip", book.ship_threshold, _far(low, book.ship_threshold.at)),
        ("Skip", "Ship", book.skip_threshold, _far(high, 1 - book.skip_threshold.at)),
    )
    found = []
    for name, opposite, bar, far in beside:
        across = opposite if narrow else book.between
        if across != name and label in (name, across) and _has_two_sides(bar):
            found.append(DistanceToNextLabel(across if label == name else name, far))
    return found


def _has_two_sides(bar: Threshold) -> bool:
    """Whether some share within 0 and 1 passes the bar, and some does not."""
    return not (bar.at == 1 and not bar.inclusive) and not (bar.at == 0 and bar.inclusive)


def _far(end: End, bar: Fraction) -> Decimal:
    return abs(end.plus(-bar).rounded())
