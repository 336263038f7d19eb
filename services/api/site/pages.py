"""Pages: the site in HTML, each from one snapshot. A visitor's own votes and shelf the browser asks for itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import msgspec
from litestar import get
from litestar.params import FromPath, FromQuery
from msgspec import Struct

from domain.events.editorial import Category
from domain.shared.errors import Unknown
from domain.shared.types import Slug
from domain.verdicts.activity import RecentActivity
from domain.verdicts.rankings import Sort
from eventstore.tool_directory import ToolDirectory
from projections.adoptions import rulebook_in_force
from projections.catalogue import Entry, read_categories, read_entries
from projections.engine.snapshot import take_snapshot
from projections.panel import Reviewer, read_panel
from projections.scorecard import ScorecardTake, read_takes_of
from services.api.http.app_state import app_state
from services.api.http.auth import login_of, open_to_all
from services.api.http.requests import AnyRequest
from services.api.site.methodology import methodology
from services.api.site.rendering import Page, render_page
from services.api.views.cards import Card, not_shown_yet, read_cards
from services.api.views.comparisons import read_comparison
from services.api.views.flips import read_newest
from services.api.views.rankings import BY_AGE, Order, read_order
from services.auth.identity import Login

FEATURED = ("claude-4-api-tool-use-streaming-prompt-caching", "smolagents-2-0")
_ON_HOME = 12  # tools of one category; the rest are on the category's page
_IN_ORDER = 60  # tools of all categories, in an order that was chosen
_ON_CATEGORY = 200
_RIVALS = 12
_FLIPS_MAX = 100
_PAIR_CHARS_MAX = 2 * 100 + len("-vs-")


class Group(Struct, frozen=True):
    """A category with its first tools; ``total`` counts those not shown too."""

    category: Category
    cards: list[Card]
    total: int


class Opinion(Struct, frozen=True):
    """A reviewer's take together with the tool it is on."""

    card: Card
    take: ScorecardTake


class CategoryRecord(Struct, frozen=True):
    """How many tools of one category a reviewer took, and how many of those shipped."""

    category: Category
    tools: int
    shipped: int


@get("/", guards=[open_to_all], include_in_schema=False)
async def home(request: AnyRequest, sort: FromQuery[Sort] = "top") -> Page:
    """By category with the best first, or all tools in the order that was chosen."""
    async with take_snapshot(app_state(request).pool) as snapshot:
        rulebook = await rulebook_in_force(snapshot)
        order = await read_order(snapshot, rulebook, sort)
        categories = await read_categories(snapshot)
        shown = _first_of_each(order) if sort == "top" else order.page(None, None, _IN_ORDER)[0]
        pair = _featured(order)
        cards = await read_cards(snapshot, rulebook, list({*shown, *pair}))
        panel = await read_panel(snapshot)
        freshness = await snapshot.freshness()
    listed = [cards[tool] for tool in shown]
    return render_page(
        "home.html",
        freshness,
        sort=sort,
        groups=_by_category(listed, categories),
        cards=[] if sort == "top" else listed,
        listed=len(order.ranked),
        recent_activity=_recent_activity(order),
        featured=[cards[tool] for tool in pair],
        panel=panel,
    )


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
        "compare.html", freshness, comparison=comparison, rulebook=rulebook, canonical=canonical
    )


@get("/tools/{slug:str}", guards=[open_to_all], include_in_schema=False)
async def tool(request: AnyRequest, slug: FromPath[str]) -> Page:
    number = (await app_state(request).tool_directory.find(_checked(slug, "tool"))).tool
    async with take_snapshot(app_state(request).pool) as snapshot:
        rulebook = await rulebook_in_force(snapshot)
        cards = await read_cards(snapshot, rulebook, [number])
        entries = await read_entries(snapshot)
        freshness = await snapshot.freshness()
    if number not in cards:
        raise not_shown_yet(slug)
    return render_page("tool.html", freshness, card=cards[number], rivals=_rivals(cards[number], entries))


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
        "reviewer.html",
        freshness,
        reviewer=panel[slug],
        opinions=opinions,
        records=_records(opinions),
        panel=panel,
    )


@get("/categories/{slug:str}", guards=[open_to_all], include_in_schema=False)
async def category(request: AnyRequest, slug: FromPath[str], sort: FromQuery[Sort] = "top") -> Page:
    """Its tools in the order that was chosen, retired ones last."""
    async with take_snapshot(app_state(request).pool) as snapshot:
        rulebook = await rulebook_in_force(snapshot)
        entries = [each for each in await read_entries(snapshot) if each.details.category.slug == slug]
        order = await read_order(snapshot, rulebook, sort)
        retired = [each.tool for each in entries if each.retired_at is not None]
        shown = [*order.page(slug, None, _ON_CATEGORY)[0], *retired][:_ON_CATEGORY]
        cards = await read_cards(snapshot, rulebook, shown)
        freshness = await snapshot.freshness()
    if not entries:
        raise Unknown(kind="category", name=slug)
    group = Group(cards[shown[0]].category, [cards[tool] for tool in shown], len(entries))
    return render_page(
        "category.html", freshness, group=group, sort=sort, recent_activity=_recent_activity(order)
    )


@get("/flips", guards=[open_to_all], include_in_schema=False)
async def flips(request: AnyRequest) -> Page:
    newest, freshness = await read_newest(request, _FLIPS_MAX)
    return render_page("flips.html", freshness, flips=newest)


@get("/bookmarks", guards=[open_to_all], include_in_schema=False)
async def bookmarks() -> Page:
    return render_page("bookmarks.html")


@get("/ledger", guards=[open_to_all], include_in_schema=False)
async def ledger() -> Page:
    return render_page("ledger.html")


@get("/editor", guards=[open_to_all], include_in_schema=False)
async def editor(request: AnyRequest) -> Page:
    """What the login may do, and nothing else; the API asks for the login again."""
    login = await login_of(request)
    async with take_snapshot(app_state(request).pool) as snapshot:
        panel = await read_panel(snapshot)
        entries = await read_entries(snapshot)
        freshness = await snapshot.freshness()
    categories = {each.details.category.slug: each.details.category for each in entries}
    return render_page(
        "editor.html",
        freshness,
        cache="private, no-store",
        login=login,
        reviewers=_own_reviewers(login, panel),
        categories=sorted(categories.items()),
    )


PAGES = [home, compare, tool, reviewer, category, flips, bookmarks, methodology, ledger, editor]


async def find_pair(tool_directory: ToolDirectory, pair: str) -> tuple[str, str]:
    """The two slugs of ``left-vs-right``, where a slug may itself hold ``-vs-``. Raises Unknown."""
    for left, right in _splits(pair[: _PAIR_CHARS_MAX + 1]):
        try:
            await tool_directory.find(left)
            await tool_directory.find(right)
        except Unknown:
            continue
        return left, right
    raise Unknown(kind="comparison", name=pair[:_PAIR_CHARS_MAX])


def _splits(pair: str) -> Iterator[tuple[str, str]]:
    """Every way to read the pair as two slugs."""
    app_state = pair.split("-vs-")
    for cut in range(1, len(app_state)):
        left, right = "-vs-".join(app_state[:cut]), "-vs-".join(app_state[cut:])
        if _is_slug(left) and _is_slug(right):
            yield left, right


def _checked(slug: str, kind: str) -> str:
    if not _is_slug(slug):
        raise Unknown(kind=kind, name=slug[:100])
    return slug


def _is_slug(text: str) -> bool:
    try:
        return bool(msgspec.convert(text, Slug))
    except msgspec.ValidationError:
        return False


def _first_of_each(order: Order) -> list[int]:
    """The first tools of every category."""
    first: dict[str, list[int]] = defaultdict(list)
    for each in order.ranked:
        first[each.category].append(each.tool)
    return [tool for tools in first.values() for tool in tools[:_ON_HOME]]


def _by_category(cards: Iterable[Card], categories: Iterable[tuple[Category, int]]) -> list[Group]:
    """In the order of the categories' names; within one, the order of ``cards``."""
    first: dict[str, list[Card]] = defaultdict(list)
    for card in cards:
        first[card.category.slug].append(card)
    groups = [Group(category, first[category.slug], total) for category, total in categories]
    return sorted(groups, key=lambda group: (group.category.name.casefold(), group.category.slug))


def _featured(order: Order) -> tuple[int, ...]:
    """The two tools that home compares: the chosen ones while they are listed, else the two that rank first."""
    listed = {each.slug: each.tool for each in order.ranked}
    chosen = tuple(listed[slug] for slug in FEATURED if slug in listed)
    pair = chosen if len(chosen) == 2 else tuple(each.tool for each in order.ranked[:2])
    return pair if len(pair) == 2 else ()


def _recent_activity(order: Order) -> dict[str, RecentActivity]:
    """By slug, where that is what the order goes by."""
    return {each.slug: each.recent_activity for each in order.ranked} if order.sort in BY_AGE else {}


def _rivals(card: Card, entries: Iterable[Entry]) -> list[Entry]:
    """Tools of the same category to compare with."""
    same = [
        entry
        for entry in entries
        if entry.details.category.slug == card.category.slug
        and entry.slug != card.slug
        and not entry.retired_at
    ]
    return sorted(same, key=lambda entry: entry.details.name.casefold())[:_RIVALS]


def _opinions(takes: Mapping[int, ScorecardTake], cards: Mapping[int, Card]) -> list[Opinion]:
    """By category and tool's name."""
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


def _own_reviewers(login: Login | None, panel: Sequence[Reviewer]) -> list[Reviewer]:
    """Those whose takes the login may publish: an editor all, a reviewer their own."""
    if login is None:
        return []
    return [each for each in panel if login.role == "editor" or each.slug == login.reviewer]
