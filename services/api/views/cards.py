"""Cards: a tool as the site shows it, read at one moment, with its scorecard, tally and verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime

from msgspec import Struct, structs

from domain.events.editorial import Category, Details, Pricing
from domain.rulebooks.rulebook import Rulebook
from domain.shared.types import Choice
from domain.verdicts.verdict import Judgement, Tally, Verdict, judge
from projections.adoptions import RULEBOOK_READ_MODELS
from projections.bookmark_counts import BOOKMARK_COUNTS, read_bookmark_counts
from projections.catalogue import CATALOGUE, CatalogueEntry, read_entries
from projections.daily_votes import DAILY_VOTES, read_ballots
from projections.engine.snapshot import Snapshot
from projections.panel import PANEL, Reviewer, read_panel
from projections.scorecard import SCORECARD, ScorecardTake, read_takes
from projections.tally import TALLY
from services.api.http.problems import HttpRejected
from services.api.views.initials import initial_of
from services.api.views.verdicts import VerdictResponse, present_verdict

# A request for cards waits for these read models only, so that a blocked one elsewhere does not delay it.
READ_BY_CARDS = (CATALOGUE, PANEL, SCORECARD, TALLY, DAILY_VOTES, BOOKMARK_COUNTS, *RULEBOOK_READ_MODELS)


class ReviewerName(Struct, frozen=True):
    slug: str
    name: str


class PublishedTake(Struct, frozen=True):
    score: int
    choice: Choice
    text: str
    published_at: datetime
    revision: int


class ScorecardRow(Struct, frozen=True):
    """``take`` is null where the reviewer has no standing take: "No panel take". A retired reviewer has no such row."""

    reviewer: ReviewerName
    take: PublishedTake | None


class CardFields(Struct, frozen=True):
    """The fields that a card and its answer have in common before the verdict."""

    slug: str
    name: str
    initial: str
    tagline: str
    best_for: str
    description: str
    category: Category
    url: str | None
    pricing: Pricing
    scorecard: tuple[ScorecardRow, ...]
    tally: Tally


class Card(CardFields, frozen=True):
    """``position`` is the log position that the card was read at, one per shard."""

    verdict: Verdict
    bookmarks: int
    retired_at: datetime | None
    revision: int
    position: str


class CardResponse(CardFields, frozen=True):
    verdict: VerdictResponse
    bookmarks: int
    retired_at: datetime | None
    revision: int


def present_card(card: Card) -> CardResponse:
    fields = structs.asdict(card)
    fields["verdict"] = present_verdict(card.verdict, fields.pop("position"))
    return CardResponse(**fields)


async def read_cards(
    snapshot: Snapshot, rulebook: Rulebook, tools: Sequence[int] | None = None
) -> dict[int, Card]:
    """Cards by tool number; all tools when none are named."""
    entries = await read_entries(snapshot, tools)
    numbers = [entry.tool for entry in entries]
    reviewers = await read_panel(snapshot)
    takes = _by_tool(await read_takes(snapshot, tools))
    ballots = await read_ballots(snapshot, numbers, rulebook)
    bookmarks = await read_bookmark_counts(snapshot, numbers)
    position = str(await snapshot.freshness())
    return {
        entry.tool: _card(
            entry,
            _scorecard(reviewers, takes[entry.tool]),
            judge(_judgements(takes[entry.tool]), ballots[entry.tool], rulebook),
            bookmarks.get(entry.tool, 0),
            position,
        )
        for entry in entries
    }


def _by_tool(takes: Collection[ScorecardTake]) -> dict[int, dict[str, ScorecardTake]]:
    """By tool number, then by reviewer's slug; a tool without takes has an empty dict."""
    by_tool: dict[int, dict[str, ScorecardTake]] = defaultdict(dict)
    for take in takes:
        by_tool[take.tool][take.reviewer] = take
    return by_tool


def _judgements(takes: dict[str, ScorecardTake]) -> list[Judgement]:
    return [Judgement(take.reviewer, take.score, take.choice) for take in takes.values()]


def _scorecard(reviewers: Sequence[Reviewer], takes: dict[str, ScorecardTake]) -> tuple[ScorecardRow, ...]:
    return tuple(
        ScorecardRow(ReviewerName(each.slug, each.name), _published(takes.get(each.slug)))
        for each in reviewers
        if each.retired_at is None or each.slug in takes
    )


def _published(take: ScorecardTake | None) -> PublishedTake | None:
    if take is None:
        return None
    return PublishedTake(take.score, take.choice, take.text, take.published_at, take.revision)


def _card(
    entry: CatalogueEntry,
    scorecard: tuple[ScorecardRow, ...],
    verdict: Verdict,
    bookmarks: int,
    position: str,
) -> Card:
    details: Details = entry.details
    return Card(
        slug=entry.slug,
        name=details.name,
        initial=initial_of(details.name),
        tagline=details.tagline,
        best_for=details.best_for,
        description=details.description,
        category=details.category,
        url=details.url,
        pricing=details.pricing,
        scorecard=scorecard,
        tally=verdict.community,
        verdict=verdict,
        bookmarks=bookmarks,
        retired_at=entry.retired_at,
        revision=entry.revision,
        position=position,
    )


def not_shown_yet(slug: str) -> HttpRejected:
    """The rejection for a tool that is in the log, but not in the catalogue yet."""
    return HttpRejected(
        503, "try-again", f"{slug} has just been listed and is not shown yet.", {"Retry-After": "1"}
    )
