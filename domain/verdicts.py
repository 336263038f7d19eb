"""Verdicts: pure functions of takes, tally and rulebook. They say which clause decided."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Literal

import msgspec
from msgspec import Struct

from domain.rulebooks import Rulebook
from domain.statistics import mean, share, wilson
from domain.words import Choice

Label = Literal["Ship", "Skip", "Split", "Unreviewed"]


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
    label: Label
    panel: PanelSplit
    community: Tally
    margin: Margin
    explanation: tuple[str, ...]
    rulebook: str
    inputs: str


def count(ship: int, skip: int, rulebook: Rulebook) -> Tally:
    total = ship + skip
    return Tally(ship, skip, total, share(ship, skip), wilson(ship, skip), total < rulebook.settled_votes)


def judge(takes: Sequence[Judgement], tally: Tally, rulebook: Rulebook) -> Verdict:
    panel = split(takes)
    label = label_of(panel.ship, panel.skip, rulebook)
    return Verdict(
        label=label,
        panel=panel,
        community=tally,
        margin=Margin(votes=None, takes=_takes_to_flip(panel, label, rulebook)),
        explanation=_explain(label, panel, tally, rulebook),
        rulebook=rulebook.digest,
        inputs=inputs_digest(takes, tally),
    )


def split(takes: Sequence[Judgement]) -> PanelSplit:
    """A reviewer without a take is left out of the denominator."""
    ship = sum(take.choice == "ship" for take in takes)
    skip = len(takes) - ship
    scores = [take.score for take in takes]
    return PanelSplit(ship, skip, share(ship, skip), mean(scores), sum(scores))


def label_of(ship: int, skip: int, rulebook: Rulebook) -> Label:
    """Compared in whole numbers: ship/(ship+skip) against a/b is ship*b against a*(ship+skip)."""
    if ship + skip == 0:
        return "Unreviewed"
    numerator, denominator = rulebook.ship_above
    weight = ship * denominator - numerator * (ship + skip)
    return "Ship" if weight > 0 else "Skip" if weight < 0 else "Split"


def _takes_to_flip(panel: PanelSplit, label: Label, rulebook: Rulebook) -> int | None:
    """Try every number of removals; a panel is a handful of people."""
    removals = sorted(
        (gone_ship + gone_skip, panel.ship - gone_ship, panel.skip - gone_skip)
        for gone_ship in range(panel.ship + 1)
        for gone_skip in range(panel.skip + 1)
    )
    return next((gone for gone, ship, skip in removals if label_of(ship, skip, rulebook) != label), None)


def _explain(label: Label, panel: PanelSplit, tally: Tally, rulebook: Rulebook) -> tuple[str, ...]:
    threshold = "{}/{}".format(*rulebook.ship_above)
    panel_line = {
        "Ship": f"{panel.ship} of {panel.ship + panel.skip} takes say ship, above the threshold of {threshold}.",
        "Skip": f"{panel.ship} of {panel.ship + panel.skip} takes say ship, below the threshold of {threshold}.",
        "Split": f"{panel.ship} of {panel.ship + panel.skip} takes say ship, exactly the threshold of {threshold}.",
        "Unreviewed": "No reviewer has published a take.",
    }[label]
    votes_line = (
        f"{tally.total} community votes are shown beside the verdict; this rulebook does not weigh them."
    )
    return (panel_line, votes_line)


def inputs_digest(takes: Sequence[Judgement], tally: Tally) -> str:
    """``sha256:`` of what went in: the takes in reviewer order and the two counts, as canonical JSON."""
    inputs = {"takes": sorted(takes), "ship": tally.ship, "skip": tally.skip}
    return "sha256:" + sha256(msgspec.json.encode(inputs, order="sorted")).hexdigest()
