"""Reviewers: who sits on the panel and in which order, and the commands of editors that change it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import reduce
from typing import Annotated

from litestar import Response, get, post, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from msgspec import Meta, Struct

from domain.editorial.reviewers import (
    Command,
    OrderPanel,
    PutReviewer,
    RestoreReviewer,
    RetireReviewer,
    Seats,
    decide,
    evolve,
    panel_order,
)
from domain.events.editorial import EditorialEvent
from domain.shared.errors import Unknown
from domain.shared.types import Line, Name, Slug, Text
from eventstore.decisions import EditorialDecision, decide_editorial
from projections.engine.snapshot import Snapshot
from projections.panel import PANEL, read_panel
from projections.scorecard import SCORECARD, read_takes
from services.api.http.app_state import app_state
from services.api.http.auth import author_of, for_scope, open_to_all
from services.api.http.consistency import AsOf, MinPosition, headers_of, snapshot_at
from services.api.http.documented import ETAG
from services.api.http.json_body import StrictJSON
from services.api.http.pagination import Items, SlugInPath
from services.api.http.problems import problem_responses
from services.api.http.requests import AnyRequest
from services.api.routes.tools import IfMatch, announce_editorial, position_of, reject_absent, revision_in

_READ_MODELS = (PANEL, SCORECARD)


class ReviewerRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    tagline: Line = ""
    bio: Text = ""


class PanelOrderRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The slugs of all reviewers who are not retired, each once."""

    order: Annotated[list[Slug], Meta(max_length=1_000)]


class ReviewerResponse(Struct, frozen=True):
    """``seat`` orders the panel. ``takes`` is the number of takes that stand."""

    slug: str
    name: str
    tagline: str
    bio: str
    seat: int
    takes: int
    revision: int
    retired_at: datetime | None


class ReviewerRevisionResponse(Struct, frozen=True):
    """``position`` is the log position of the change; null when nothing changed."""

    slug: str
    revision: int
    position: str | None


class PanelOrderResponse(Struct, frozen=True):
    """``position`` is the log position of the change; null when nothing changed."""

    order: list[str]
    position: str | None


@get("/v1/reviewers", guards=[open_to_all], responses=problem_responses(404))
async def list_reviewers(
    request: AnyRequest, as_of: AsOf = None, min_position: MinPosition = None
) -> Response[Items[ReviewerResponse]]:
    """The panel in its order, and then the retired reviewers."""
    async with snapshot_at(app_state(request).pool, min_position, _READ_MODELS, as_of=as_of) as snapshot:
        reviewers = await _read_reviewers(snapshot)
        freshness = await snapshot.freshness()
    return Response(Items(reviewers), headers=headers_of(freshness))


@get("/v1/reviewers/{slug:str}", guards=[open_to_all], responses=problem_responses(404))
async def show_reviewer(
    request: AnyRequest, slug: SlugInPath, as_of: AsOf = None, min_position: MinPosition = None
) -> Response[ReviewerResponse]:
    """One reviewer, retired or not."""
    async with snapshot_at(app_state(request).pool, min_position, _READ_MODELS, as_of=as_of) as snapshot:
        found = {each.slug: each for each in await _read_reviewers(snapshot)}.get(slug)
        freshness = await snapshot.freshness()
    if found is None:
        raise Unknown(kind="reviewer", name=slug)
    return Response(found, headers=headers_of(freshness) | {"ETag": f'"{found.revision}"'})


@put(
    "/v1/reviewers/{slug:str}",
    dto=StrictJSON[ReviewerRequest],
    return_dto=None,
    status_code=200,
    guards=[for_scope("catalogue:write")],
    responses=problem_responses(401, 403, 410, 412, 413, 415)
    | {201: ResponseSpec(ReviewerRevisionResponse, description="Seated")},
    request_max_body_size=64 * 1024,
    response_headers=[ETAG],
)
async def put_reviewer(
    request: AnyRequest, slug: SlugInPath, data: JSONBody[ReviewerRequest], if_match: IfMatch = None
) -> Response[ReviewerRevisionResponse]:
    """Seat a reviewer after all others (201), or revise one (200). With ``If-Match: "3"`` only at revision 3."""
    command = PutReviewer(slug, data.name, data.tagline, data.bio, revision_in(if_match))
    return await _change(request, command, if_match)


@post(
    "/v1/reviewers/{slug:str}/retire",
    status_code=200,
    guards=[for_scope("catalogue:write")],
    responses=problem_responses(401, 403, 404, 412),
    response_headers=[ETAG],
)
async def retire_reviewer(
    request: AnyRequest, slug: SlugInPath, if_match: IfMatch = None
) -> Response[ReviewerRevisionResponse]:
    """The reviewer publishes no more takes. Standing takes stay, and count, until they are withdrawn."""
    return await _change(request, RetireReviewer(slug, revision_in(if_match)))


@post(
    "/v1/reviewers/{slug:str}/restore",
    status_code=200,
    guards=[for_scope("catalogue:write")],
    responses=problem_responses(401, 403, 404, 412),
    response_headers=[ETAG],
)
async def restore_reviewer(
    request: AnyRequest, slug: SlugInPath, if_match: IfMatch = None
) -> Response[ReviewerRevisionResponse]:
    """A retired reviewer is back on their seat, and may publish takes again."""
    return await _change(request, RestoreReviewer(slug, revision_in(if_match)))


@put(
    "/v1/reviewers/order",
    dto=StrictJSON[PanelOrderRequest],
    return_dto=None,
    status_code=200,
    guards=[for_scope("catalogue:write")],
    responses=problem_responses(401, 403, 409, 413, 415),
    request_max_body_size=128 * 1024,
)
async def order_panel(request: AnyRequest, data: JSONBody[PanelOrderRequest]) -> Response[PanelOrderResponse]:
    """Put the panel, and the rows of every scorecard, in this order.

    409 if the order does not name every reviewer once, as when another one was seated meanwhile.
    """
    after, decided = await _decide(request, OrderPanel(tuple(data.order)))
    order = [each.slug for each in panel_order(after)]
    return Response(PanelOrderResponse(order, position_of(decided)))


async def _change(
    request: AnyRequest,
    command: PutReviewer | RetireReviewer | RestoreReviewer,
    if_match: str | None = None,
) -> Response[ReviewerRevisionResponse]:
    def check(before: Seats) -> None:
        if command.slug not in before:
            reject_absent(if_match, "reviewer", command.slug)

    after, decided = await _decide(request, command, check)
    reviewer = after[command.slug]
    known = command.slug in reduce(evolve, decided.before, Seats())
    return Response(
        ReviewerRevisionResponse(command.slug, reviewer.revision, position_of(decided)),
        status_code=200 if known else 201,
        headers={"ETag": f'"{reviewer.revision}"'},
    )


async def _decide(
    request: AnyRequest, command: Command, check: Callable[[Seats], None] = lambda _: None
) -> tuple[Seats, EditorialDecision]:
    """The panel afterwards, and the decision. ``check`` sees the panel before it."""
    author = await author_of(request)

    def decide_on(past: Sequence[EditorialEvent]) -> list[EditorialEvent]:
        before = reduce(evolve, past, Seats())
        check(before)
        return decide(command, before)

    async with app_state(request).pool.acquire() as conn:
        decided = await decide_editorial(conn, decide_on, author)
    await announce_editorial(request, decided)
    return reduce(evolve, [*decided.before, *decided.events], Seats()), decided


async def _read_reviewers(snapshot: Snapshot) -> list[ReviewerResponse]:
    takes = Counter(each.reviewer for each in await read_takes(snapshot))
    return [
        ReviewerResponse(
            each.slug,
            each.name,
            each.tagline,
            each.bio,
            each.seat,
            takes[each.slug],
            each.revision,
            each.retired_at,
        )
        for each in await read_panel(snapshot)
    ]
