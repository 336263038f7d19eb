"""Verdicts as answers show them."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from domain.rulebooks.rulebook import Label
from domain.verdicts.labels import DecidedBy
from domain.verdicts.shares import DistanceToNextLabel, Shares
from domain.verdicts.verdict import Margin, PanelSplit, Tally, Verdict


class PanelResponse(Struct, frozen=True):
    ship: int
    skip: int
    share: Decimal | None
    mean_score: Decimal | None


class VerdictResponse(Struct, frozen=True):
    """``position`` is the log position that the verdict was read at; ``rulebook`` and ``inputs`` are digests."""

    label: Label
    decided: DecidedBy
    panel: PanelResponse
    community: Tally
    shares: Shares
    distance: DistanceToNextLabel | None
    margin: Margin
    explanation: tuple[str, ...]
    rulebook: str
    position: str
    inputs: str


def present_verdict(verdict: Verdict, position: str) -> VerdictResponse:
    return VerdictResponse(
        verdict.label,
        verdict.decided,
        present_panel(verdict.panel),
        verdict.community,
        verdict.shares,
        verdict.distance,
        verdict.margin,
        verdict.explanation,
        verdict.rulebook,
        position,
        verdict.inputs,
    )


def present_panel(panel: PanelSplit) -> PanelResponse:
    return PanelResponse(panel.ship, panel.skip, panel.share, panel.mean_score)
