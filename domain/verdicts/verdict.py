"""Verdicts: a label with its reasons and margins, computed from takes, ballots and a rulebook."""

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
from domain.verdicts.labels import DecidedBy, Rule, rule_for
from domain.verdicts.margins import panel_share, take_margin, vote_margin
from domain.verdicts.shares import DistanceToNextLabel, Shares, distance_of, shares_of
from domain.verdicts.statistics import mean, share, wilson


class Judgement(Struct, frozen=True, order=True):
    """The part of a current take that verdicts depend on."""

    reviewer: str
    score: int
    choice: Choice


class Tally(Struct, frozen=True):
    """Current votes. Share and interval are None without votes, not 0."""

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
    """The fewest votes, and the fewest takes, whose removal would change the label; None where no removal does."""

    votes: int | None
    takes: int | None


class Verdict(Struct, frozen=True):
    """``decided`` names what determined the label; ``rulebook`` and ``inputs`` are digests."""

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
    """The part of a verdict that comparisons read, without explanation and digests: cheap for thousands of tools."""

    label: Label
    panel: PanelSplit
    community: Tally
    margin: Margin


def judge(takes: Sequence[Judgement], ballots: Ballots, rulebook: Rulebook) -> Verdict:
    counted = counted_takes(takes, rulebook.panel)
    days = weigh_days(ballots, rulebook.community)
    votes = days.summed
    rule = rule_for(rulebook, panel_share_of(counted, rulebook.panel))
    label, decided = rule.decide(votes)
    panel = split(takes)
    distance = distance_of(rule, votes, label, decided)
    return Verdict(
        label=label,
        decided=decided,
        panel=panel,
        community=count(ballots.ship, ballots.skip, rulebook),
        shares=shares_of(rule, votes),
        distance=distance,
        margin=_margin(rule, counted, days, votes, label),
        explanation=explain(rule, votes, (panel.ship, panel.skip), len(counted), label, decided, distance),
        rulebook=rulebook.digest,
        inputs=inputs_digest(takes, ballots, rulebook),
    )


def judge_briefly(
    takes: Sequence[Judgement], ship: int, skip: int, days: WeightedDays, rulebook: Rulebook
) -> BriefVerdict:
    counted = counted_takes(takes, rulebook.panel)
    votes = days.summed
    rule = rule_for(rulebook, panel_share_of(counted, rulebook.panel))
    label = rule.label(votes)
    margin = _margin(rule, counted, days, votes, label)
    return BriefVerdict(label, split(takes), count(ship, skip, rulebook), margin)


def _margin(
    rule: Rule, counted: Sequence[tuple[int, int]], days: WeightedDays, votes: WeightedVotes, label: Label
) -> Margin:
    takes = take_margin(rule.book, counted, votes, label)
    return Margin(vote_margin(rule, days, votes), takes)


def split(takes: Sequence[Judgement]) -> PanelSplit:
    """Reviewers without a take are not part of the denominator."""
    ship = sum(take.choice == "ship" for take in takes)
    skip = len(takes) - ship
    scores = [take.score for take in takes]
    return PanelSplit(ship, skip, share(ship, skip), mean(scores), sum(scores))


def counted_takes(takes: Sequence[Judgement], panel: Panel) -> list[tuple[int, int]]:
    """(weight, worth) of each take whose weight is above 0."""
    weighted = [(panel.weights.get(take.reviewer, 1), worth(take, panel)) for take in takes]
    return [each for each in weighted if each[0]]


def worth(take: Judgement, panel: Panel) -> int:
    """0..100."""
    if panel.counts == "choices":
        return 100 if take.choice == "ship" else 0
    return next((worth for start, worth in reversed(panel.bands) if take.score >= start), take.score)


def panel_share_of(counted: Sequence[tuple[int, int]], panel: Panel) -> Fraction | None:
    """The panel's share, None below its quorum."""
    return panel_share(counted) if len(counted) >= panel.quorum else None


def inputs_digest(takes: Sequence[Judgement], ballots: Ballots, rulebook: Rulebook) -> str:
    """``sha256:`` of the canonical inputs."""
    return "sha256:" + sha256(canonical_inputs(takes, ballots, rulebook)).hexdigest()


def canonical_inputs(takes: Sequence[Judgement], ballots: Ballots, rulebook: Rulebook) -> bytes:
    """JSON, sorted, without spaces: the takes by reviewer, the two counts, and the days where the rulebook weighs age.

    Days without votes are left out, so that the bytes do not depend on how the days were counted.
    """
    inputs: dict[str, object] = {"takes": sorted(takes), "ship": ballots.ship, "skip": ballots.skip}
    if rulebook.weighs_age:
        days = [[each.day, each.ship, each.skip] for each in sorted(ballots.days) if each.ship or each.skip]
        inputs |= {"today": ballots.today, "days": days}
    return msgspec.json.encode(inputs, order="sorted")
