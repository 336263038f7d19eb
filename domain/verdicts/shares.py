"""Shares of panel and community: exact, rounded to four places for display, and their distance to the next label."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import msgspec
from msgspec import Struct

from domain.rulebooks.rulebook import Label, Threshold
from domain.verdicts.decay import WeightedVotes
from domain.verdicts.intervals import Surd, exact, wilson_interval
from domain.verdicts.labels import DecidedBy, Rule

# Lower and upper end, which are equal where a plain share is compared.
ExactInterval = tuple[Surd, Surd]
Interval = tuple[Decimal, Decimal]


class Shares(Struct, frozen=True):
    """The shares that were compared with the thresholds, as lower and upper end; None for a side without weight."""

    panel: Decimal | None
    community: Interval | None
    combined: Interval | None = msgspec.field(name="together")


class DistanceToNextLabel(Struct, frozen=True):
    """``share`` is how far the combined share is from ``label``."""

    label: Label
    share: Decimal


def shares_of(rule: Rule, votes: WeightedVotes) -> Shares:
    """Rounded half to even."""
    panel, combined = _panel_share(rule), combined_share(rule, votes)
    community = _community_share(rule, votes)
    return Shares(
        None if panel is None else exact(panel).rounded(),
        None if community is None else rounded(community),
        None if combined is None else rounded(combined),
    )


def _panel_share(rule: Rule) -> Fraction | None:
    return rule.panel if rule.book.panel.weight else None


def _community_share(rule: Rule, votes: WeightedVotes) -> ExactInterval | None:
    community = rule.book.community
    if not rule.has_quorum(votes) or not community.weight:
        return None
    if community.bound == "interval":
        return wilson_interval(votes.ship, votes.total, votes.vote_weight_today, rule.book.z)
    return exact(share_of(votes)), exact(share_of(votes))


def share_of(votes: WeightedVotes) -> Fraction:
    return Fraction(votes.ship, votes.total)


def combined_share(rule: Rule, votes: WeightedVotes) -> ExactInterval | None:
    """The mean of both shares by the rulebook's weights, or the only one of them; None without either."""
    panel, community = _panel_share(rule), _community_share(rule, votes)
    if panel is None or community is None:
        return community if panel is None else (exact(panel), exact(panel))
    panel_weight, community_weight = rule.book.panel.weight, rule.book.community.weight
    part = Fraction(community_weight, panel_weight + community_weight)
    low, high = (end.times(part).plus(panel * (1 - part)) for end in community)
    return low, high


def rounded(interval: ExactInterval) -> Interval:
    return interval[0].rounded(), interval[1].rounded()


def distance_of(
    rule: Rule, votes: WeightedVotes, label: Label, decided: DecidedBy
) -> DistanceToNextLabel | None:
    """None without a combined share, after a veto, and where no share has another label."""
    combined = combined_share(rule, votes)
    if combined is None or decided == "veto":
        return None
    return min(_distances(rule, combined, label), key=lambda each: each.share, default=None)


def _distances(rule: Rule, combined: ExactInterval, label: Label) -> list[DistanceToNextLabel]:
    """To the label on the other side of each threshold next to ``label``."""
    book = rule.book
    low, high = combined
    ship, skip = book.ship_threshold, book.skip_threshold
    meet = ship.at == 1 - skip.at and (ship.inclusive or skip.inclusive)
    no_split = meet and low == high
    thresholds: tuple[tuple[Label, Label, Threshold, Decimal], ...] = (
        ("Ship", "Skip", ship, _distance(low, ship.at)),
        ("Skip", "Ship", skip, _distance(high, 1 - skip.at)),
    )
    found = []
    for name, opposite, threshold, distance in thresholds:
        across = opposite if no_split else book.between
        if across != name and label in (name, across) and _can_pass_and_fail(threshold):
            found.append(DistanceToNextLabel(across if label == name else name, distance))
    return found


def _can_pass_and_fail(threshold: Threshold) -> bool:
    """Whether some share within 0..1 passes and another does not."""
    return not (threshold.at == 1 and not threshold.inclusive) and not (
        threshold.at == 0 and threshold.inclusive
    )


def _distance(end: Surd, at: Fraction) -> Decimal:
    return abs(end.plus(-at).rounded())
