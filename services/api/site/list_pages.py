"""Lists of tools: home by category or in one order, and the page of one category."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from litestar import get
from litestar.params import FromPath, FromQuery
from msgspec import Struct

from domain.events.editorial import Category
from domain.shared.errors import Unknown
from domain.verdicts.activity import RecentActivity
from domain.verdicts.rankings import Sort
from projections.adoptions import rulebook_in_force
from projections.catalogue import read_categories, read_entries
from projections.engine.snapshot import take_snapshot
from projections.panel import read_panel, seated
from services.api.http.app_state import app_state
from services.api.http.auth import open_to_all
from services.api.http.requests import AnyRequest
from services.api.site.rendering import Page, render_page
from services.api.views.cards import Card, read_cards
from services.api.views.first_run import first_run
from services.api.views.rankings import BY_ACTIVITY, Ranking, read_ranking

FEATURED = ("claude-4-api-tool-use-streaming-prompt-caching", "smolagents-2-0")
_PER_CATEGORY_MAX = 12  # tools on home; the rest are on the category's page
_IN_ORDER_MAX = 60  # tools on home in a chosen order
_CATEGORY_MAX = 200  # tools on the page of a category


class Group(Struct, frozen=True):
    """A category with its first tools; ``total`` counts all its tools."""

    category: Category
    cards: list[Card]
    total: int


@get("/", guards=[open_to_all], include_in_schema=False)
async def home(request: AnyRequest, sort: FromQuery[Sort] = "top") -> Page:
    """Tools by category with the best first, or all tools in the chosen order."""
    async with take_snapshot(app_state(request).pool) as snapshot:
        rulebook = await rulebook_in_force(snapshot)
        ranking = await read_ranking(snapshot, rulebook, sort)
        categories = await read_categories(snapshot)
        shown = _first_of_each(ranking) if sort == "top" else ranking.page(None, None, _IN_ORDER_MAX)[0]
        pair = _featured(ranking)
        cards = await read_cards(snapshot, rulebook, list({*shown, *pair}))
        panel = seated(await read_panel(snapshot))
        freshness = await snapshot.freshness()
    listed = [cards[tool] for tool in shown]
    return render_page(
        request,
        "home.html",
        freshness,
        sort=sort,
        groups=_by_category(listed, categories),
        cards=[] if sort == "top" else listed,
        listed=len(ranking.ranked),
        recent_activity=_recent_activity(ranking),
        featured=[cards[tool] for tool in pair],
        panel=panel,
        first=first_run(len(panel), len(ranking.ranked), list(cards.values())),
    )


@get("/categories/{slug:str}", guards=[open_to_all], include_in_schema=False)
async def category(request: AnyRequest, slug: FromPath[str], sort: FromQuery[Sort] = "top") -> Page:
    """The tools of a category in the chosen order, retired ones last."""
    async with take_snapshot(app_state(request).pool) as snapshot:
        rulebook = await rulebook_in_force(snapshot)
        entries = [each for each in await read_entries(snapshot) if each.details.category.slug == slug]
        ranking = await read_ranking(snapshot, rulebook, sort)
        retired = [each.tool for each in entries if each.retired_at is not None]
        shown = [*ranking.page(slug, None, _CATEGORY_MAX)[0], *retired][:_CATEGORY_MAX]
        cards = await read_cards(snapshot, rulebook, shown)
        freshness = await snapshot.freshness()
    if not entries:
        raise Unknown(kind="category", name=slug)
    group = Group(cards[shown[0]].category, [cards[tool] for tool in shown], len(entries))
    return render_page(
        request, "category.html", freshness, group=group, sort=sort, recent_activity=_recent_activity(ranking)
    )


LIST_PAGES = [home, category]


def _first_of_each(ranking: Ranking) -> list[int]:
    """The numbers of the first tools of every category."""
    first: dict[str, list[int]] = defaultdict(list)
    for each in ranking.ranked:
        first[each.category].append(each.tool)
    return [tool for tools in first.values() for tool in tools[:_PER_CATEGORY_MAX]]


def _by_category(cards: Iterable[Card], categories: Iterable[tuple[Category, int]]) -> list[Group]:
    """Sorted by the names of the categories; within a category in the order of ``cards``."""
    first: dict[str, list[Card]] = defaultdict(list)
    for card in cards:
        first[card.category.slug].append(card)
    groups = [Group(category, first[category.slug], total) for category, total in categories]
    return sorted(groups, key=lambda group: (group.category.name.casefold(), group.category.slug))


def _featured(ranking: Ranking) -> tuple[int, ...]:
    """The two tools that home compares: ``FEATURED`` while both are listed, otherwise the first two of the ranking."""
    listed = {each.slug: each.tool for each in ranking.ranked}
    chosen = tuple(listed[slug] for slug in FEATURED if slug in listed)
    pair = chosen if len(chosen) == 2 else tuple(each.tool for each in ranking.ranked[:2])
    return pair if len(pair) == 2 else ()


def _recent_activity(ranking: Ranking) -> dict[str, RecentActivity]:
    """By slug; empty for an order that does not depend on recent activity."""
    return {each.slug: each.recent_activity for each in ranking.ranked} if ranking.sort in BY_ACTIVITY else {}
