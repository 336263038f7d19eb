"""Tools: the catalogue as cards, and the commands of editors that list, revise and retire tools."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Annotated

from litestar import Response, get, post, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, HeaderParameter, JSONBody, QueryParameter
from msgspec import Struct, structs

from domain.editorial.tools import PutTool, RetireTool, Tool, decide, evolve
from domain.events.editorial import Category, Details, EditorialEvent, Pricing
from domain.shared.log import EDITORIAL
from domain.shared.types import SLUG, Line, Name, Slug, Text, Url
from domain.verdicts.rankings import Sort
from eventstore.decisions import EditorialDecision, decide_tool
from projections.adoptions import rulebook_in_force
from projections.catalogue import CATALOGUE, read_categories
from projections.engine.snapshot import take_snapshot
from services.api.http.app_state import app_state
from services.api.http.auth import author_of, for_scope, open_to_all
from services.api.http.consistency import AsOf, MinPosition, headers_of, snapshot_at
from services.api.http.documented import ETAG
from services.api.http.json_body import StrictJSON
from services.api.http.pagination import Items, SlugInPath, next_link, write_cursor
from services.api.http.problems import HttpRejected, problem_responses
from services.api.http.requests import AnyRequest
from services.api.views.cards import READ_BY_CARDS, CardResponse, not_shown_yet, present_card, read_cards
from services.api.views.rankings import parse_ranking_cursor, read_ranking

IfMatch = Annotated[str | None, HeaderParameter(name="If-Match", required=False, max_length=100)]


class ToolRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``category`` is {slug, name}, or the slug of a category that is in use."""

    name: Name
    tagline: Line = ""
    best_for: Line = ""
    description: Text = ""
    category: Category | Slug
    url: Url | None = None
    pricing: Pricing = Pricing("Unknown")


class CategoryResponse(Struct, frozen=True):
    """``tools`` is the number of its tools that are not retired."""

    slug: str
    name: str
    tools: int


class ToolRevisionResponse(Struct, frozen=True):
    """``position`` is the log position of the change; null when nothing changed."""

    slug: str
    revision: int
    position: str | None


@get("/v1/tools", guards=[open_to_all], responses=problem_responses(404))
async def list_tools(
    request: AnyRequest,
    category: Annotated[str | None, QueryParameter(pattern=SLUG, max_length=100, required=False)] = None,
    sort: FromQuery[Sort] = "top",
    cursor: Annotated[str | None, QueryParameter(max_length=4_000, required=False)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 20,
    as_of: AsOf = None,
    min_position: MinPosition = None,
) -> Response[Items[CardResponse]]:
    """Cards of the tools that are not retired, in the chosen order; the next page is in ``Link: rel=next``.

    All pages show the moment of the first one, so that no tool is skipped or listed twice while votes arrive.
    ``top``: by the lower end of the community's interval, preliminary tallies after settled ones, then by the panel.
    ``hot``: by votes, where a vote weighs half as much as one cast two days later. ``trending``: by the rate of votes
    since yesterday, as a multiple of the rate of the four weeks before; tools where that may be chance come last.
    Both count back from the newest event. ``controversial``: total ** (smaller side / larger side).
    """
    after = parse_ranking_cursor(cursor, sort) if cursor is not None else None
    as_of = as_of if as_of is not None or after is None else after.as_of
    async with snapshot_at(app_state(request).pool, min_position, READ_BY_CARDS, as_of=as_of) as snapshot:
        rulebook = await rulebook_in_force(snapshot)
        ranking = await read_ranking(snapshot, rulebook, sort, after)
        page, more = ranking.page(category, after, limit)
        cards = await read_cards(snapshot, rulebook, page)
        freshness = await snapshot.freshness()
    headers, written = headers_of(freshness), None
    if more:
        written = write_cursor(structs.replace(more, as_of=str(freshness)))
        headers["Link"] = next_link(request, written, as_of=str(freshness))
    return Response(Items([present_card(cards[tool]) for tool in page], written), headers=headers)


@get("/v1/tools/{slug:str}", guards=[open_to_all], responses=problem_responses(404))
async def show_tool(
    request: AnyRequest, slug: SlugInPath, as_of: AsOf = None, min_position: MinPosition = None
) -> Response[CardResponse]:
    """The card of one tool, retired or not, now or as of a moment."""
    tool = (await app_state(request).tool_directory.find(slug)).tool
    async with snapshot_at(app_state(request).pool, min_position, READ_BY_CARDS, as_of=as_of) as snapshot:
        snapshot.check_listed(slug, tool)
        cards = await read_cards(snapshot, await rulebook_in_force(snapshot), [tool])
        freshness = await snapshot.freshness()
    if tool not in cards:
        raise not_shown_yet(slug)
    card = present_card(cards[tool])
    return Response(card, headers=headers_of(freshness) | {"ETag": f'"{card.revision}"'})


@get("/v1/categories", guards=[open_to_all], responses=problem_responses(404))
async def list_categories(
    request: AnyRequest, as_of: AsOf = None, min_position: MinPosition = None
) -> Response[Items[CategoryResponse]]:
    """The categories that tools are in, by name. A category exists while a tool that is not retired is in it."""
    async with snapshot_at(app_state(request).pool, min_position, [CATALOGUE], as_of=as_of) as snapshot:
        found = await read_categories(snapshot)
        freshness = await snapshot.freshness()
    items = [CategoryResponse(category.slug, category.name, tools) for category, tools in found]
    return Response(Items(items), headers=headers_of(freshness))


@put(
    "/v1/tools/{slug:str}",
    dto=StrictJSON[ToolRequest],
    return_dto=None,
    status_code=200,
    guards=[for_scope("catalogue:write")],
    responses=problem_responses(401, 403, 410, 412, 413, 415)
    | {201: ResponseSpec(ToolRevisionResponse, description="Listed")},
    response_headers=[ETAG],
    request_max_body_size=64 * 1024,
)
async def put_tool(
    request: AnyRequest, slug: SlugInPath, data: JSONBody[ToolRequest], if_match: IfMatch = None
) -> Response[ToolRevisionResponse]:
    """List a tool (201) or revise it (200). With ``If-Match: "3"`` it is revised only if its revision is 3."""
    command = PutTool(slug, await _details(request, data), revision_in(if_match))
    return await _decide(request, command, if_match)


@post(
    "/v1/tools/{slug:str}/retire",
    status_code=200,
    guards=[for_scope("catalogue:write")],
    responses=problem_responses(401, 403, 404, 412),
    response_headers=[ETAG],
)
async def retire_tool(
    request: AnyRequest, slug: SlugInPath, if_match: IfMatch = None
) -> Response[ToolRevisionResponse]:
    """Close a tool to votes and takes. Its page, history and comparisons stay."""
    return await _decide(request, RetireTool(slug, revision_in(if_match)))


async def _decide(
    request: AnyRequest, command: PutTool | RetireTool, if_match: str | None = None
) -> Response[ToolRevisionResponse]:
    author, before = await author_of(request), None

    def decide_on(past: Sequence[EditorialEvent]) -> list[EditorialEvent]:
        nonlocal before
        before = reduce(evolve, past, None)
        if before is None:
            reject_absent(if_match, "tool", command.slug)
        return decide(command, before)

    async with app_state(request).pool.acquire() as conn:
        decided = await decide_tool(conn, command.slug, decide_on, author)
    await announce_editorial(request, decided)
    after: Tool | None = reduce(evolve, decided.events, before)
    revision = after.revision if after else 0
    return Response(
        ToolRevisionResponse(command.slug, revision, position_of(decided)),
        status_code=200 if decided.before else 201,
        headers={"ETag": f'"{revision}"'},
    )


async def announce_editorial(request: AnyRequest, decided: EditorialDecision) -> None:
    """Wake the workers, and refresh this process's tool directory."""
    if decided.recorded:
        app_state(request).wakeups.wake(EDITORIAL)
        await app_state(request).tool_directory.refresh()


def position_of(decided: EditorialDecision) -> str | None:
    return str(decided.recorded[-1].position) if decided.recorded else None


async def _details(request: AnyRequest, body: ToolRequest) -> Details:
    return Details(
        name=body.name,
        tagline=body.tagline,
        best_for=body.best_for,
        description=body.description,
        category=body.category
        if isinstance(body.category, Category)
        else await _find_category(request, body.category),
        url=body.url,
        pricing=body.pricing,
    )


async def _find_category(request: AnyRequest, slug: str) -> Category:
    """The category in use under this slug; a new slug gets a name made from it: ``code-review`` is Code Review."""
    async with take_snapshot(app_state(request).pool) as snapshot:
        in_use = {category.slug: category for category, _ in await read_categories(snapshot)}
    return in_use.get(slug, Category(slug, slug.replace("-", " ").title()))


def revision_in(if_match: str | None) -> int | None:
    """The revision that an ETag starts with; None for ``*``, which matches any (see reject_absent).

    Raises HttpRejected for any other text.
    """
    if if_match in (None, "*"):
        return None
    digits = (if_match or "").removeprefix("W/").strip('"').partition("-")[0]
    if not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        raise HttpRejected(400, "invalid", 'If-Match: send the revision as it was given, for example "3".')
    return int(digits)


def reject_absent(if_match: str | None, kind: str, slug: str) -> None:
    """``If-Match: *`` matches nothing where nothing exists (RFC 9110 section 13.1.1). Raises HttpRejected."""
    if if_match == "*":
        raise HttpRejected(
            412,
            "revision-moved",
            f"There is no {kind} {slug!r}. Check the slug, or send it without If-Match to add it.",
        )
