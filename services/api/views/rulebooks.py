"""Rulebooks and their adoptions as answers show them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct, structs

from domain.rulebooks.rulebook import Rulebook
from domain.rulebooks.toml import write_rulebook
from projections.adoptions import Adoption, AdoptionStep, scheduled_adoptions
from projections.rulebooks import KnownRulebook


class RulebookSummary(Struct, frozen=True):
    """Rulebooks of the origin ``named`` come with Shiplog.

    ``adopted_at``: when it last came into force. ``scheduled``: when it will.
    """

    digest: str
    name: str
    title: str
    description: str
    origin: Literal["named", "written"]
    written_at: datetime | None
    in_force: bool
    adopted_at: datetime | None
    scheduled: datetime | None


class RulebookResponse(RulebookSummary, frozen=True):
    """``digest`` is of ``canonical``; ``toml`` has the same content for people."""

    rulebook: Rulebook
    canonical: str
    toml: str


class AdoptionResponse(Struct, frozen=True):
    """``replaces`` is the digest of the rulebook that was in force before. The author is not shown."""

    position: str
    recorded_at: datetime
    step: AdoptionStep
    digest: str
    replaces: str | None
    reason: str | None
    effective_at: datetime | None


def summarize_rulebook(
    known: KnownRulebook, adoptions: list[Adoption], in_force: Rulebook
) -> RulebookSummary:
    """``adoptions`` are all there are, newest first."""
    book = known.rulebook
    adopted_at = [each.recorded_at for each in adoptions if each.digest == book.digest and each.replaces]
    pending = scheduled_adoptions(adoptions).get(book.digest)
    return RulebookSummary(
        book.digest,
        book.name,
        book.title,
        book.description,
        "named" if known.written_at is None else "written",
        known.written_at,
        book == in_force,
        adopted_at[0] if adopted_at else None,
        pending.effective_at if pending else None,
    )


def present_rulebook(summary: RulebookSummary, book: Rulebook) -> RulebookResponse:
    return RulebookResponse(
        **structs.asdict(summary),
        rulebook=book,
        canonical=book.canonical.decode(),
        toml=write_rulebook(book),
    )


def present_adoption(each: Adoption) -> AdoptionResponse:
    return AdoptionResponse(
        str(each.position),
        each.recorded_at,
        each.step,
        each.digest,
        each.replaces,
        each.reason,
        each.effective_at,
    )
