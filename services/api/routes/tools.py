"""Tools: the catalogue as cards, and the editor's hand on it."""

from __future__ import annotations

from functools import reduce
from typing import Annotated

from litestar import Response, get, post, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, HeaderParameter, JSONBody, QueryParameter
from msgspec import Struct

from domain.editorial.tools import PutTool, RetireTool, Tool, decide, evolve
from domain.events.editorial import Category, Details, Pricing
from domain.shared.log import EDITORIAL
from domain.shared.types import Line, Name, Slug, Text, Url
from domain.verdicts.rankings import Sort
from eventstore.decisions import EditorialDecision, decide_tool
from projections.adoptions import rulebook_in_force
from projections.catalogue import read_categories
from projections.engine.snapshot import Freshness, take_snapshot
from projections.rulebooks import find_rulebook
from services.api.http.app_state import app_state
from services.api.http.auth import author_of, for_scope, open_to_all
from services.api.http.consistency import AsOf, MinPosition, headers_of, snapshot_at
from services.api.http.json_body import StrictJSON
from services.api.http.pagination import SLUG_PATTERN, Items, SlugInPath, next_link
from services.api.http.problems import HttpRejected, problem_responses
from services.api.http.requests import AnyRequest
from services.api.views.cards import READ_BY_CARDS, Card, not_shown_yet, read_cards
from services.api.views.rankings import read_after, read_order

IfMatch = Annotated[str | None, HeaderParameter(name="If-Match", required=False, max_length=100)]


class PutToolBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``category`` is {slug, name}, or the slug of a category that is in use."""

    name: Name
    tagline: Line = ""
    best_for: Line = ""
    description: Text = ""
    category: Category | Slug
    url: Url | None = None
    pricing: Pricing = Pricing("Unknown")


class ToolAnswer(Struct, frozen=True):
    """``position`` is where the log has it; null when nothing changed."""

    slug: str
    revision: int
    position: str | None


@get("/v1/tools", guards=[open_to_all], responses=problem_responses(404))
async def list_tools(
    request: AnyRequest,
    category: Annotated[
        str | None, QueryParameter(pattern=SLUG_PATTERN, max_length=100, required=False)
    ] = None,
    sort: FromQuery[Sort] = "top",
    cursor: Annotated[str | None, QueryParameter(max_length=400, required=False)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 20,
    as_of: AsOf = None,
    min_position: MinPosition = None,
) -> Response[Items[Card]]:
    """Cards of the tools that are not retired, first by the chosen order; more under ``Link: rel=next``.

    ``top``: by the lower end of the community's interval, preliminary tallies after settled ones, then by the panel.
    ``hot``: by votes, of which one weighs half as much as one cast two days later. ``trending``: by how many times its own
    rate of four weeks a tool has since yesterday, those where it may be chance after the others. Both count back from
    the newest event. ``controversial``: total ** (smaller side / larger side).
    """
    after = read_after(cursor, sort) if cursor else None
    async with snapshot_at(app_state(request).pool, min_position, READ_BY_CARDS, as_of=as_of) as snapshot:
        rulebook = await rulebook_in_force(snapshot)
        order = await read_order(snapshot, rulebook, sort, after)
        page, more = order.page(category, after, limit)
        cards = await read_cards(snapshot, rulebook, page)
        freshness = await snapshot.freshness()
    headers = headers_of(freshness) | ({"Link": next_link(request, more)} if more else {})
    return Response(Items([cards[tool] for tool in page], more), headers=headers)


@get("/v1/tools/{slug:str}", guards=[open_to_all], responses=problem_responses(404))
async def show_tool(
    request: AnyRequest, slug: SlugInPath, as_of: AsOf = None, min_position: MinPosition = None
) -> Response[Card]:
    """The card of one tool, retired or not, as it is or as it was."""
    card, freshness = await read_card(request, slug, min_position, as_of)
    return Response(card, headers=headers_of(freshness) | {"ETag": f'"{card.revision}"'})


async def read_card(
    request: AnyRequest, slug: str, min_position: str | None, as_of: str | None, by: str | None = None
) -> tuple[Card, Freshness]:
    """``by`` names another rulebook than the one in force, by its digest or name.

    Raises Unknown, NotListedYet, or Rejected while the catalogue has not folded the tool yet.
    """
    tool = (await app_state(request).tool_directory.find(slug)).tool
    async with snapshot_at(app_state(request).pool, min_position, READ_BY_CARDS, as_of=as_of) as snapshot:
        snapshot.check_listed(slug, tool)
        rulebook = await (find_rulebook(snapshot, by) if by else rulebook_in_force(snapshot))
        cards = await read_cards(snapshot, rulebook, [tool])
        freshness = await snapshot.freshness()
    if tool not in cards:
        raise not_shown_yet(slug)
    return cards[tool], freshness


@put(
    "/v1/tools/{slug:str}",
    dto=StrictJSON[PutToolBody],
    return_dto=None,
    status_code=200,
    guards=[for_scope("catalogue:write")],
    responses=problem_responses(401, 403, 410, 412, 413, 415)
    | {201: ResponseSpec(ToolAnswer, description="Listed")},
    request_max_body_size=64 * 1024,
)
async def put_tool(
    request: AnyRequest, slug: SlugInPath, data: JSONBody[PutToolBody], if_match: IfMatch = None
) -> Response[ToolAnswer]:
    """List a tool (201) or revise it (200). ``If-Match: "3"`` revises revision 3 or nothing."""
    command = PutTool(slug, await _details(request, data), _revision(if_match))
    return await _decide(request, command)


@post(
    "/v1/tools/{slug:str}/retire",
    status_code=200,
    guards=[for_scope("catalogue:write")],
    responses=problem_responses(401, 403, 404, 412),
)
async def retire_tool(
    request: AnyRequest, slug: SlugInPath, if_match: IfMatch = None
) -> Response[ToolAnswer]:
    """Close a tool for votes and takes. Its page, history and comparisons stay."""
    return await _decide(request, RetireTool(slug, _revision(if_match)))


async def _decide(request: AnyRequest, command: PutTool | RetireTool) -> Response[ToolAnswer]:
    author = await author_of(request)
    async with app_state(request).pool.acquire() as conn:
        decided = await decide_tool(
            conn, command.slug, lambda past: decide(command, reduce(evolve, past, None)), author
        )
    await announce_editorial(request, decided)
    tool: Tool | None = reduce(evolve, [*decided.before, *decided.events], None)
    revision = tool.revision if tool else 0
    return Response(
        ToolAnswer(command.slug, revision, position_of(decided)),
        status_code=200 if decided.before else 201,
        headers={"ETag": f'"{revision}"'},
    )


async def announce_editorial(request: AnyRequest, decided: EditorialDecision) -> None:
    """Wake the workers, and let this process look names up anew."""
    if decided.recorded:
        app_state(request).wakeups.wake(EDITORIAL)
        await app_state(request).tool_directory.refresh()


def position_of(decided: EditorialDecision) -> str | None:
    return str(decided.recorded[-1].position) if decided.recorded else None


async def _details(request: AnyRequest, body: PutToolBody) -> Details:
    return Details(
        name=body.name,
        tagline=body.tagline,
        best_for=body.best_for,
        description=body.description,
        category=body.category
        if isinstance(body.category, Category)
        else await _named(request, body.category),
        url=body.url,
        pricing=body.pricing,
    )


async def _named(request: AnyRequest, slug: str) -> Category:
    """The category in use under this slug; a new slug is named after itself."""
    async with take_snapshot(app_state(request).pool) as snapshot:
        in_use = {category.slug: category for category, _ in await read_categories(snapshot)}
    return in_use.get(slug, Category(slug, slug.replace("-", " ").title()))


def _revision(if_match: str | None) -> int | None:
    """The number that an ETag of the tool starts with; None for ``*``, which is any."""
    if if_match in (None, "*"):
        return None
    digits = (if_match or "").removeprefix("W/").strip('"').partition("-")[0]
    if not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        raise HttpRejected(400, "invalid", 'If-Match: send the revision as it was given, for example "3".')
    return int(digits)
