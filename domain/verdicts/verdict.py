"""Verdicts: pure functions of takes, ballots and rulebook. They say which clause decided, and how narrowly."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256

import msgspec
from msgspec import Struct

from domain.rulebooks.rulebook import Label, Panel, Rulebook
from domain.shared.types import Choice
from domain.verdicts.decay import Ballots, WeightedDays, WeightedVotes, weigh_days
from domain.verdicts.explanations import explain
from domain.verdicts.labels import DecidedBy, Rule, rule
from domain.verdicts.margins import fewest_takes, fewest_votes, panel_share
from domain.verdicts.shares import DistanceToNextLabel, Shares, distance_of, shares_of
from domain.verdicts.statistics import mean, share, wilson


class Judgement(Struct, frozen=True, order=True):
    """A standing take, as far as a verdict reads it."""

    reviewer: str
    score: int
    choice: Choice


class Tally(Struct, frozen=True):
    """Votes that stand. Share and interval are None, never 0, when there are none."""

    ship: int
    skip: int
    total: int
    share: Decimal | None
    interval: tuple[Decimal, Decimal] | None
    preliminary: bool


class PanelSplit(Struct, frozen=True):
    ship: int
    skip: int
    share: Decimal | None
    mean_score: Decimal | None
    score_total: int


class Margin(Struct, frozen=True):
    """The fewest votes, and the fewest takes, whose removal would change the label; None where none can."""

    votes: int | None
    takes: int | None


class Verdict(Struct, frozen=True):
    """``decided`` is the part of the rulebook that made the label, ``distance`` how far the next label is."""

    label: Label
    decided: DecidedBy
    panel: PanelSplit
    community: Tally
    shares: Shares
    distance: DistanceToNextLabel | None
    margin: Margin
    explanation: tuple[str, ...]
    rulebook: str
    inputs: str


def count(ship: int, skip: int, rulebook: Rulebook) -> Tally:
    total = ship + skip
    interval = wilson(ship, skip, rulebook.z)
    return Tally(ship, skip, total, share(ship, skip), interval, total < rulebook.community.minimum)


class BriefVerdict(Struct, frozen=True):
    """What comparisons read of a verdict, without its words and digests: quick for thousands."""

    label: Label
    panel: PanelSplit
    community: Tally
    margin: Margin


def judge(takes: Sequence[Judgement], ballots: Ballots, rulebook: Rulebook) -> Verdict:
    counted = counted_takes(takes, rulebook.panel)
    days = weigh_days(ballots, rulebook.community)
    votes = days.summed
    standing = rule(rulebook, panel_value(counted, rulebook.panel))
    label, decided = standing.decide(votes)
    panel = split(takes)
    distance = distance_of(standing, votes, label, decided)
    return Verdict(
        label=label,
        decided=decided,
        panel=panel,
        community=count(ballots.ship, ballots.skip, rulebook),
        shares=shares_of(standing, votes),
        distance=distance,
        margin=_margin(standing, counted, days, votes, label),
        explanation=explain(
            standing, votes, (panel.ship, panel.skip), len(counted), label, decided, distance
        ),
        rulebook=rulebook.digest,
        inputs=inputs_digest(takes, ballots, rulebook),
    )


def judge_briefly(
    takes: Sequence[Judgement], ship: int, skip: int, days: WeightedDays, rulebook: Rulebook
) -> BriefVerdict:
    """What ``judge`` says of these votes, in short."""
    counted = counted_takes(takes, rulebook.panel)
    votes = days.summed
    standing = rule(rulebook, panel_value(counted, rulebook.panel))
    label = standing.label(votes)
    margin = _margin(standing, counted, days, votes, label)
    return BriefVerdict(label, split(takes), count(ship, skip, rulebook), margin)


def _margin(
    standing: Rule, counted: Sequence[tuple[int, int]], days: WeightedDays, votes: WeightedVotes, label: Label
) -> Margin:
    takes = fewest_takes(standing.book, counted, votes, label)
    return Margin(fewest_votes(standing, days, votes), takes)


def split(takes: Sequence[Judgement]) -> PanelSplit:
    """A reviewer without a take is left out of the denominator."""
    ship = sum(take.choice == "ship" for take in takes)
    skip = len(takes) - ship
    scores = [take.score for take in takes]
    return PanelSplit(ship, skip, share(ship, skip), mean(scores), sum(scores))


def counted_takes(takes: Sequence[Judgement], panel: Panel) -> list[tuple[int, int]]:
    """(weight, worth) of those that weigh something."""
    weighed = [(panel.weights.get(take.reviewer, 1), worth(take, panel)) for take in takes]
    return [each for each in weighed if each[0]]


def worth(take: Judgement, panel: Panel) -> int:
    """0..100."""
    if panel.counts == "choices":
        return 100 if take.choice == "ship" else 0
    return next((worth for start, worth in reversed(panel.bands) if take.score >= start), take.score)


def panel_value(counted: Sequence[tuple[int, int]], panel: Panel) -> Fraction | None:
    """The panel's share, None while it has no quorum."""
    return panel_share(counted) if len(counted) >= panel.quorum else None


def inputs_digest(takes: Sequence[Judgement], ballots: Ballots, rulebook: Rulebook) -> str:
    """``sha256:`` of the canonical inputs."""
    return "sha256:" + sha256(canonical_inputs(takes, ballots, rulebook)).hexdigest()


def canonical_inputs(takes: Sequence[Judgement], ballots: Ballots, rulebook: Rulebook) -> bytes:
    """JSON, sorted, without spaces: the takes in reviewer order, the two counts, and by day what is weighed by day.

    Days of which no vote stands are left out, so that the bytes do not depend on how the days were counted.
    """
    inputs: dict[str, object] = {"takes": sorted(takes), "ship": ballots.ship, "skip": ballots.skip}
    if rulebook.weighs_age:
        days = [[each.day, each.ship, each.skip] for each in sorted(ballots.days) if each.ship or each.skip]
        inputs |= {"today": ballots.today, "days": days}
    return msgspec.json.encode(inputs, order="sorted")
