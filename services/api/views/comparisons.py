"""Comparisons: two cards side by side, scorecard rows aligned, and the winner with the clause that decided."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from domain.rulebooks.rulebook import Rulebook
from domain.shared.errors import Unknown
from domain.verdicts.comparisons import Winner, winner
from eventstore.tool_directory import ToolDirectory
from projections.adoptions import rulebook_in_force
from projections.engine.snapshot import Freshness, Snapshot
from projections.panel import read_panel
from services.api.views.cards import (
    Card,
    CardResponse,
    PublishedTake,
    ReviewerName,
    not_shown_yet,
    present_card,
    read_cards,
)


class AlignedRow(Struct, frozen=True):
    """One reviewer's two takes; null where there is none."""

    reviewer: ReviewerName
    left: PublishedTake | None
    right: PublishedTake | None


class Comparison(Struct, frozen=True):
    left: Card
    right: Card
    scorecard: tuple[AlignedRow, ...]
    winner: Winner


class ComparisonResponse(Struct, frozen=True):
    left: CardResponse
    right: CardResponse
    scorecard: tuple[AlignedRow, ...]
    winner: Winner


def present_comparison(comparison: Comparison) -> ComparisonResponse:
    return ComparisonResponse(
        present_card(comparison.left),
        present_card(comparison.right),
        comparison.scorecard,
        comparison.winner,
    )


async def read_comparison(
    snapshot: Snapshot, tool_directory: ToolDirectory, left: str, right: str
) -> tuple[Comparison, Freshness]:
    """Raises Unknown for a slug without a tool and for a tool against itself, NotListedYet before both were."""
    if left == right:
        raise Unknown(kind="comparison", name=f"{left}-vs-{right}")
    tools = [(await tool_directory.find(slug)).tool for slug in (left, right)]
    for slug, tool in zip((left, right), tools, strict=True):
        snapshot.check_listed(slug, tool)
    rulebook = await rulebook_in_force(snapshot)
    cards = await read_cards(snapshot, rulebook, tools)
    for slug, tool in zip((left, right), tools, strict=True):
        if tool not in cards:
            raise not_shown_yet(slug)
    panel = [each.slug for each in await read_panel(snapshot)]
    return compare(cards[tools[0]], cards[tools[1]], panel, rulebook), await snapshot.freshness()


def compare(left: Card, right: Card, panel: Iterable[str], rulebook: Rulebook) -> Comparison:
    """``panel`` are the slugs of all reviewers, in the order of the rows."""
    return Comparison(
        left,
        right,
        _aligned(left, right, panel),
        winner(left.verdict, right.verdict, (left.name, right.name), rulebook),
    )


def _aligned(left: Card, right: Card, panel: Iterable[str]) -> tuple[AlignedRow, ...]:
    """A row for each reviewer on either card. A retired reviewer may be on one of them alone."""
    by_slug = [{row.reviewer.slug: row for row in card.scorecard} for card in (left, right)]
    rows = []
    for slug in panel:
        on_left, on_right = (rows_of.get(slug) for rows_of in by_slug)
        if shown := on_left or on_right:
            takes = (each.take if each else None for each in (on_left, on_right))
            rows.append(AlignedRow(shown.reviewer, *takes))
    return tuple(rows)
