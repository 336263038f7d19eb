"""Pages: the site in HTML, each read from one snapshot. Scripts add the visitor's own votes and bookmarks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

import msgspec
from litestar import get
from litestar.params import FromPath
from msgspec import Struct

from domain.events.editorial import Category
from domain.shared.errors import Unknown
from domain.shared.types import Slug
from eventstore.tool_directory import ToolDirectory
from projections.adoptions import rulebook_in_force
from projections.catalogue import CatalogueEntry, read_entries
from projections.engine.snapshot import take_snapshot
from projections.panel import read_panel
from projections.scorecard import ScorecardTake, read_takes_of
from services.api.http.app_state import app_state
from services.api.http.auth import open_to_all
from services.api.http.requests import AnyRequest
from services.api.site.methodology import methodology
from services.api.site.rendering import Page, render_page
from services.api.views.cards import Card, not_shown_yet, read_cards
from services.api.views.comparisons import read_comparison
from services.api.views.flips import read_newest

_RIVALS_MAX = 12
_FLIPS_MAX = 100
_PAIR_CHARS_MAX = 2 * 100 + len("-vs-")


class Opinion(Struct, frozen=True):
    """A reviewer's take with the card of its tool."""

    card: Card
    take: ScorecardTake


class CategoryRecord(Struct, frozen=True):
    """The number of a reviewer's takes on tools of one category, and the number of them that say ship."""

    category: Category
    tools: int
    shipped: int


@get("/compare/{pair:str}", guards=[open_to_all], include_in_schema=False)
async def compare(request: AnyRequest, pair: FromPath[str]) -> Page:
    left, right = await find_pair(app_state(request).tool_directory, pair)
    async with take_snapshot(app_state(request).pool) as snapshot:
        comparison, freshness = await read_comparison(
            snapshot, app_state(request).tool_directory, left, right
        )
        rulebook = await rulebook_in_force(snapshot)
    canonical = "/compare/{}-vs-{}".format(*sorted((left, right)))
    return render_page(
        request, "compare.html", freshness, comparison=comparison, rulebook=rulebook, canonical=canonical
    )


@get("/tools/{slug:str}", guards=[open_to_all], include_in_schema=False)
async def tool(request: AnyRequest, slug: FromPath[str]) -> Page:
    number = (await app_state(request).tool_directory.find(_check_slug(slug, "tool"))).tool
    async with take_snapshot(app_state(request).pool) as snapshot:
        rulebook = await rulebook_in_force(snapshot)
        cards = await read_cards(snapshot, rulebook, [number])
        entries = await read_entries(snapshot)
        freshness = await snapshot.freshness()
    if number not in cards:
        raise not_shown_yet(slug)
    return render_page(
        request, "tool.html", freshness, card=cards[number], rivals=_rivals(cards[number], entries)
    )


@get("/reviewers/{slug:str}", guards=[open_to_all], include_in_schema=False)
async def reviewer(request: AnyRequest, slug: FromPath[str]) -> Page:
    async with take_snapshot(app_state(request).pool) as snapshot:
        panel = {each.slug: each for each in await read_panel(snapshot)}
        if slug not in panel:
            raise Unknown(kind="reviewer", name=slug)
        takes = {take.tool: take for take in await read_takes_of(snapshot, slug)}
        cards = await read_cards(snapshot, await rulebook_in_force(snapshot), list(takes))
        freshness = await snapshot.freshness()
    opinions = _opinions(takes, cards)
    return render_page(
        request,
        "reviewer.html",
        freshness,
        reviewer=panel[slug],
        opinions=opinions,
        records=_records(opinions),
        panel=panel,
    )


@get("/flips", guards=[open_to_all], include_in_schema=False)
async def flips(request: AnyRequest) -> Page:
    newest, freshness = await read_newest(request, _FLIPS_MAX)
    return render_page(request, "flips.html", freshness, flips=newest)


@get("/bookmarks", guards=[open_to_all], include_in_schema=False)
async def bookmarks(request: AnyRequest) -> Page:
    return render_page(request, "bookmarks.html")


@get("/ledger", guards=[open_to_all], include_in_schema=False)
async def ledger(request: AnyRequest) -> Page:
    return render_page(request, "ledger.html")


PAGES = [compare, tool, reviewer, flips, bookmarks, methodology, ledger]


async def find_pair(tool_directory: ToolDirectory, pair: str) -> tuple[str, str]:
    """The two slugs of ``left-vs-right``, where a slug may itself contain ``-vs-``. Raises Unknown."""
    for left, right in _splits(pair[: _PAIR_CHARS_MAX + 1]):
        try:
            await tool_directory.find(left)
            await tool_directory.find(right)
        except Unknown:
            continue
        return left, right
    raise Unknown(kind="comparison", name=pair[:_PAIR_CHARS_MAX])


def _splits(pair: str) -> Iterator[tuple[str, str]]:
    """All ways to read the pair as two slugs."""
    parts = pair.split("-vs-")
    for cut in range(1, len(parts)):
        left, right = "-vs-".join(parts[:cut]), "-vs-".join(parts[cut:])
        if _is_slug(left) and _is_slug(right):
            yield left, right


def _check_slug(slug: str, kind: str) -> str:
    if not _is_slug(slug):
        raise Unknown(kind=kind, name=slug[:100])
    return slug


def _is_slug(text: str) -> bool:
    try:
        return bool(msgspec.convert(text, Slug))
    except msgspec.ValidationError:
        return False


def _rivals(card: Card, entries: Iterable[CatalogueEntry]) -> list[CatalogueEntry]:
    """Tools of the same category to compare with."""
    same = [
        entry
        for entry in entries
        if entry.details.category.slug == card.category.slug
        and entry.slug != card.slug
        and not entry.retired_at
    ]
    return sorted(same, key=lambda entry: entry.details.name.casefold())[:_RIVALS_MAX]


def _opinions(takes: Mapping[int, ScorecardTake], cards: Mapping[int, Card]) -> list[Opinion]:
    """Sorted by category and tool name."""
    opinions = [Opinion(card, takes[tool]) for tool, card in cards.items()]
    return sorted(
        opinions,
        key=lambda each: (each.card.category.name.casefold(), each.card.category.slug, each.card.name),
    )


def _records(opinions: Iterable[Opinion]) -> list[CategoryRecord]:
    groups = [list(group) for _, group in groupby(opinions, key=lambda opinion: opinion.card.category.slug)]
    return [
        CategoryRecord(
            group[0].card.category, len(group), sum(opinion.take.choice == "ship" for opinion in group)
        )
        for group in groups
    ]
