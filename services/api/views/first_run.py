"""First run: how far an instance has come from empty to its first comparison."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from services.api.views.cards import Card


class FirstRun(Struct, frozen=True):
    """Numbers of reviewers on the panel, of listed tools and of those with takes; ``pair`` are two of these, by slug."""

    reviewers: int
    tools: int
    judged: int
    pair: tuple[str, str] | None

    @property
    def over(self) -> bool:
        return self.reviewers > 0 and self.judged >= 2


def first_run(reviewers: int, tools: int, cards: Sequence[Card]) -> FirstRun:
    """``cards`` are of some listed tools: of all while there are few."""
    judged = [card.slug for card in cards if card.verdict.panel.ship + card.verdict.panel.skip]
    pair = (judged[0], judged[1]) if len(judged) >= 2 else None
    return FirstRun(reviewers, tools, len(judged), pair)
