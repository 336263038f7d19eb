"""Cards: a tool as the site shows it, read at one moment, with its scorecard, tally and verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from domain.events.editorial import Category, Details, Pricing
from domain.rulebooks.rulebook import Label, Rulebook
from domain.shared.types import Choice
from domain.verdicts.decay import Ballots
from domain.verdicts.labels import DecidedBy
from domain.verdicts.shares import DistanceToNextLabel, Shares
from domain.verdicts.verdict import Judgement, Margin, PanelSplit, Tally, Verdict, count, judge
from projections.adoptions import READ_BY_RULE
from projections.bookmark_counts import BOOKMARK_COUNTS, read_bookmark_counts
from projections.catalogue import CATALOGUE, Entry, read_entries
from projections.daily_votes import DAILY_VOTES
from projections.engine.snapshot import Freshness, Snapshot
from projections.panel import PANEL, Reviewer, read_panel
from projections.reads.ballots import read_ballots
from projections.scorecard import SCORECARD, ScorecardTake, read_takes
from projections.tally import TALLY
from services.api.http.problems import HttpRejected

# Whoever waits for cards waits for these: another read model that is stopped keeps nobody waiting.
READ_BY_CARDS = (CATALOGUE, PANEL, SCORECARD, TALLY, DAILY_VOTES, BOOKMARK_COUNTS, *READ_BY_RULE)


class ReviewerName(Struct, frozen=True):
    slug: str
    name: str


class TakeShown(Struct, frozen=True):
    score: int
    choice: Choice
    text: str
    published_at: datetime
    revision: int


class ScorecardRow(Struct, frozen=True):
    """``take`` is null where the reviewer has no standing take: "No panel take"."""

    reviewer: ReviewerName
    take: TakeShown | None


class PanelShown(Struct, frozen=True):
    ship: int
    skip: int
    share: Decimal | None
    mean_score: Decimal | None


class VerdictShown(Struct, frozen=True):
    label: Label
    decided: DecidedBy
    panel: PanelShown
    community: Tally
    shares: Shares
    distance: DistanceToNextLabel | None
    margin: Margin
    explanation: tuple[str, ...]
    rulebook: str
    position: str
    inputs: str


class Card(Struct, frozen=True):
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
    verdict: VerdictShown
    bookmarks: int
    retired_at: datetime | None
    revision: int


async def read_cards(
    snapshot: Snapshot, rulebook: Rulebook, tools: Sequence[int] | None = None
) -> dict[int, Card]:
    """Cards by tool number; all tools when none are named."""
    entries = await read_entries(snapshot, tools)
    numbers = [entry.tool for entry in entries]
    reviewers = await read_panel(snapshot)
    takes = await read_takes(snapshot, tools)
    ballots = await read_ballots(snapshot, numbers, rulebook)
    bookmarks = await read_bookmark_counts(snapshot, numbers)
    freshness = await snapshot.freshness()

    by_tool: dict[int, dict[str, ScorecardTake]] = defaultdict(dict)
    for take in takes:
        by_tool[take.tool][take.reviewer] = take
    return {
        entry.tool: _card(
            entry,
            reviewers,
            by_tool[entry.tool],
            ballots[entry.tool],
            bookmarks.get(entry.tool, 0),
            rulebook,
            freshness,
        )
        for entry in entries
    }


def _card(
    entry: Entry,
    reviewers: Sequence[Reviewer],
    takes: dict[str, ScorecardTake],
    ballots: Ballots,
    bookmarks: int,
    rulebook: Rulebook,
    freshness: Freshness,
) -> Card:
    details: Details = entry.details
    return Card(
        slug=entry.slug,
        name=details.name,
        initial=details.name[:1].upper(),
        tagline=details.tagline,
        best_for=details.best_for,
        description=details.description,
        category=details.category,
        url=details.url,
        pricing=details.pricing,
        scorecard=tuple(_row(reviewer, takes.get(reviewer.slug)) for reviewer in reviewers),
        tally=count(ballots.ship, ballots.skip, rulebook),
        verdict=show_verdict(takes.values(), ballots, rulebook, freshness),
        bookmarks=bookmarks,
        retired_at=entry.retired_at,
        revision=entry.revision,
    )


def _row(reviewer: Reviewer, take: ScorecardTake | None) -> ScorecardRow:
    return ScorecardRow(ReviewerName(reviewer.slug, reviewer.name), show_take(take) if take else None)


def show_take(take: ScorecardTake) -> TakeShown:
    return TakeShown(take.score, take.choice, take.text, take.published_at, take.revision)


def show_verdict(
    takes: Collection[ScorecardTake], ballots: Ballots, rulebook: Rulebook, freshness: Freshness
) -> VerdictShown:
    judgements = [Judgement(take.reviewer, take.score, take.choice) for take in takes]
    verdict: Verdict = judge(judgements, ballots, rulebook)
    return VerdictShown(
        verdict.label,
        verdict.decided,
        PanelShown(verdict.panel.ship, verdict.panel.skip, verdict.panel.share, verdict.panel.mean_score),
        verdict.community,
        verdict.shares,
        verdict.distance,
        verdict.margin,
        verdict.explanation,
        verdict.rulebook,
        str(freshness),
        verdict.inputs,
    )


def pure(card: Card) -> Verdict:
    """The card's verdict as the domain knows it."""
    v, scores = card.verdict, [row.take.score for row in card.scorecard if row.take]
    panel = PanelSplit(v.panel.ship, v.panel.skip, v.panel.share, v.panel.mean_score, sum(scores))
    return Verdict(
        v.label,
        v.decided,
        panel,
        v.community,
        v.shares,
        v.distance,
        v.margin,
        v.explanation,
        v.rulebook,
        v.inputs,
    )


def not_shown_yet(slug: str) -> HttpRejected:
    """The log has the tool, the catalogue has not folded it yet."""
    return HttpRejected(
        503, "try-again", f"{slug} has just been listed and is not shown yet.", {"Retry-After": "1"}
    )
