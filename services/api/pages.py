"""Pages: the site in HTML, each from one snapshot. What is somebody's own, the browser asks for itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import MediaType, Request, Response, get
from litestar.datastructures import CacheControlHeader, State
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.static_files import create_static_files_router
from msgspec import Struct

from domain.house import Category
from domain.rankings import rank
from domain.refusals import Unknown
from domain.rulebooks import DEFAULT
from domain.words import Slug
from eventstore.names import Names
from projections.catalogue import Entry, read_entries
from projections.panel import Reviewer, read_panel
from projections.snapshot import Freshness, take_snapshot
from services.api.access import open_to_all
from services.api.cards import Card, TakeShown, not_shown_yet, pure, read_cards
from services.api.comparisons import read_comparison
from services.api.freshness import headers_of
from services.api.problems import Rejected

AnyRequest = Request[object, object, State]
Page = Response[str]

_SITE = Path(__file__).parent / "site"
_STATIC = _SITE / "static"

# What a page may load: our own files only, and no inline script or style.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Content-Type-Options": "nosniff",
}

FEATURED = ("claude-4-api-tool-use-streaming-prompt-caching", "smolagents-2-0")
_ON_HOME = 12  # tools of one category; the rest are on the category's page
_ON_CATEGORY = 200
_RIVALS = 12
_LONGEST_PAIR = 2 * 100 + len("-vs-")


class Group(Struct, frozen=True):
    """A category with its best tools first; ``total`` counts those not shown too."""

    category: Category
    cards: list[Card]
    total: int


class Opinion(Struct, frozen=True):
    """A reviewer's take together with the tool it is on."""

    card: Card
    take: TakeShown


class Record(Struct, frozen=True):
    """How many tools of one category a reviewer took, and how many of those shipped."""

    category: Category
    tools: int
    shipped: int


@get("/", guards=[open_to_all], include_in_schema=False)
async def home(request: AnyRequest) -> Page:
    async with take_snapshot(request.app.state.pool) as snapshot:
        cards = await read_cards(snapshot, DEFAULT)
        panel = await read_panel(snapshot)
        freshness = await snapshot.freshness()
    listed = _best_first(card for card in cards.values() if card.retired_at is None)
    return _page("home.html", freshness, groups=_by_category(listed), featured=_featured(listed), panel=panel)


@get("/compare/{pair:str}", guards=[open_to_all], include_in_schema=False)
async def compare(request: AnyRequest, pair: str) -> Page:
    left, right = await find_pair(request.app.state.names, pair)
    async with take_snapshot(request.app.state.pool) as snapshot:
        comparison, freshness = await read_comparison(snapshot, request.app.state.names, left, right)
    canonical = "/compare/{}-vs-{}".format(*sorted((left, right)))
    return _page("compare.html", freshness, comparison=comparison, canonical=canonical)


@get("/tools/{slug:str}", guards=[open_to_all], include_in_schema=False)
async def tool(request: AnyRequest, slug: str) -> Page:
    number = (await request.app.state.names.find(_checked(slug, "tool"))).tool
    async with take_snapshot(request.app.state.pool) as snapshot:
        cards = await read_cards(snapshot, DEFAULT, [number])
        entries = await read_entries(snapshot)
        freshness = await snapshot.freshness()
    if number not in cards:
        raise not_shown_yet(slug)
    return _page("tool.html", freshness, card=cards[number], rivals=_rivals(cards[number], entries))


@get("/reviewers/{slug:str}", guards=[open_to_all], include_in_schema=False)
async def reviewer(request: AnyRequest, slug: str) -> Page:
    async with take_snapshot(request.app.state.pool) as snapshot:
        panel = {each.slug: each for each in await read_panel(snapshot)}
        cards = await read_cards(snapshot, DEFAULT) if slug in panel else {}
        freshness = await snapshot.freshness()
    if slug not in panel:
        raise Unknown(kind="reviewer", name=slug)
    opinions = list(_opinions(panel[slug], cards.values()))
    return _page(
        "reviewer.html",
        freshness,
        reviewer=panel[slug],
        opinions=opinions,
        records=_records(opinions),
        panel=panel,
    )


@get("/categories/{slug:str}", guards=[open_to_all], include_in_schema=False)
async def category(request: AnyRequest, slug: str) -> Page:
    async with take_snapshot(request.app.state.pool) as snapshot:
        numbers = [each.tool for each in await read_entries(snapshot) if each.details.category.slug == slug]
        cards = await read_cards(snapshot, DEFAULT, numbers)
        freshness = await snapshot.freshness()
    if not cards:
        raise Unknown(kind="category", name=slug)
    shown = sorted(_best_first(cards.values()), key=lambda card: card.retired_at is not None)
    group = Group(shown[0].category, shown[:_ON_CATEGORY], len(shown))
    return _page("category.html", freshness, group=group)


@get("/bookmarks", guards=[open_to_all], include_in_schema=False)
async def bookmarks() -> Page:
    return _page("bookmarks.html")


@get("/methodology", guards=[open_to_all], include_in_schema=False)
async def methodology() -> Page:
    return _page("methodology.html", rulebook=DEFAULT)


@get("/editor", guards=[open_to_all], include_in_schema=False)
async def editor(request: AnyRequest) -> Page:
    async with take_snapshot(request.app.state.pool) as snapshot:
        panel = await read_panel(snapshot)
        entries = await read_entries(snapshot)
        freshness = await snapshot.freshness()
    categories = {each.details.category.slug: each.details.category for each in entries}
    return _page("editor.html", freshness, panel=panel, categories=sorted(categories.items()))


PAGES = [home, compare, tool, reviewer, category, bookmarks, methodology, editor]


async def find_pair(names: Names, pair: str) -> tuple[str, str]:
    """The two slugs of ``left-vs-right``, where a slug may itself hold ``-vs-``. Raises Unknown."""
    for left, right in _splits(pair[: _LONGEST_PAIR + 1]):
        try:
            await names.find(left)
            await names.find(right)
        except Unknown:
            continue
        return left, right
    raise Unknown(kind="comparison", name=pair[:_LONGEST_PAIR])


def _splits(pair: str) -> Iterator[tuple[str, str]]:
    """Every way to read the pair as two slugs."""
    parts = pair.split("-vs-")
    for cut in range(1, len(parts)):
        left, right = "-vs-".join(parts[:cut]), "-vs-".join(parts[cut:])
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


def _best_first(cards: Iterable[Card]) -> list[Card]:
    by_name = sorted(cards, key=lambda card: card.name.casefold())
    return sorted(by_name, key=lambda card: rank("top", pure(card), 0), reverse=True)


def _by_category(cards: Iterable[Card]) -> list[Group]:
    """In the order of the categories' names; within one, the order of ``cards``."""
    ordered = sorted(cards, key=lambda card: (card.category.name.casefold(), card.category.slug))
    groups = [list(group) for _, group in groupby(ordered, key=lambda card: card.category.slug)]
    return [Group(group[0].category, group[:_ON_HOME], len(group)) for group in groups]


def _featured(cards: list[Card]) -> tuple[Card, Card] | None:
    """The two tools that home compares: the chosen ones while they are listed, else the two that rank first."""
    chosen = [card for card in cards if card.slug in FEATURED]
    pair = sorted(chosen, key=lambda card: FEATURED.index(card.slug)) if len(chosen) == 2 else cards[:2]
    return (pair[0], pair[1]) if len(pair) == 2 else None


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


def _opinions(reviewer: Reviewer, cards: Collection[Card]) -> Iterator[Opinion]:
    """The reviewer's standing takes, by category and name."""
    ordered = sorted(cards, key=lambda card: (card.category.name.casefold(), card.category.slug, card.name))
    for card in ordered:
        for row in card.scorecard:
            if row.reviewer.slug == reviewer.slug and row.take is not None:
                yield Opinion(card, row.take)


def _records(opinions: Iterable[Opinion]) -> list[Record]:
    groups = [list(group) for _, group in groupby(opinions, key=lambda opinion: opinion.card.category.slug)]
    return [
        Record(group[0].card.category, len(group), sum(opinion.take.choice == "ship" for opinion in group))
        for group in groups
    ]


def render_problem_page(_: AnyRequest, rejected: Rejected) -> Page:
    """An error as a page for people; needs nothing but the template."""
    template = "not_found.html" if rejected.status == 404 else "problem.html"
    headers = {**_HEADERS, "Cache-Control": "no-store", "Vary": "Accept", **rejected.headers}
    html = _render(template, problem=rejected)
    return Response(html, status_code=rejected.status, media_type=MediaType.HTML, headers=headers)


def _page(template: str, freshness: Freshness | None = None, **context: object) -> Page:
    headers = {**_HEADERS, "Cache-Control": "no-cache", **(headers_of(freshness) if freshness else {})}
    html = _render(template, freshness=freshness, **context)
    return Response(html, media_type=MediaType.HTML, headers=headers)


def _render(template: str, **context: object) -> str:
    return _templates.get_template(template).render(context)


def percent(share: Decimal) -> str:
    """Whole per cent. Nearly none and nearly all are not rounded to none and all."""
    if 0 < share < Decimal("0.005"):
        return "<1%"
    if Decimal("0.995") <= share < 1:
        return ">99%"
    return f"{(share * 100).quantize(Decimal(1), ROUND_HALF_UP)}%"


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"


def _number(count: int) -> str:
    return f"{count:,}"


def _digest_of(directory: Path) -> str:
    """Names the content of every file below, so that an address never changes its content."""
    digest = sha256()
    for file in sorted(path for path in directory.rglob("*") if path.is_file()):
        digest.update(file.relative_to(directory).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


_STATIC_PATH = f"/static/{_digest_of(_STATIC)}"

STATIC = create_static_files_router(
    path=_STATIC_PATH,
    directories=[_STATIC],
    guards=[open_to_all],
    include_in_schema=False,
    cache_control=CacheControlHeader(public=True, max_age=31_536_000, immutable=True),
)

_templates = Environment(
    loader=FileSystemLoader(_SITE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals["static"] = _STATIC_PATH
_templates.filters |= {"percent": percent, "day": _day, "number": _number}


class OwnSwagger(SwaggerRenderPlugin):
    """Swagger UI from our own files, in a page without inline script."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: Mapping[str, Any]) -> bytes:
        return _render("api_docs.html", schema=self.get_openapi_json_route(request)).encode()


OPENAPI_RENDER = OwnSwagger(
    js_url=f"{_STATIC_PATH}/vendor/swagger-ui-bundle.js",
    css_url=f"{_STATIC_PATH}/vendor/swagger-ui.css",
    standalone_preset_js_url=f"{_STATIC_PATH}/vendor/swagger-ui-bundle.js",
    favicon=f'<link rel="icon" type="image/svg+xml" href="{_STATIC_PATH}/favicon.svg">',
)
