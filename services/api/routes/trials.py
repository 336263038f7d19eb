"""Trials: an editor tries a rulebook on the whole history, and reads what it would change before it changes anything."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath, QueryParameter
from msgspec import structs

from projections.engine.snapshot import take_snapshot
from projections.rulebooks import find_rulebook
from projections.trials import jobs as trials
from services.api.http.app_state import app_state
from services.api.http.auth import for_editors
from services.api.http.pagination import Items
from services.api.http.problems import problem_responses
from services.api.http.requests import AnyRequest
from services.api.routes.rulebooks import RulebookInPath
from services.api.views.trial_summaries import (
    COMPARED_MAX,
    SideBySide,
    TrialLine,
    ids_in,
    read_found,
    read_side_by_side,
    show_lines,
)
from services.api.views.trials import (
    Disagreement,
    FlipNow,
    Margins,
    RankMove,
    Results,
    ToolFlips,
)

_UNSEEN = {"Cache-Control": "no-store"}
_FLIPS = 20  # of each tool, unless more are asked for


class TrialShown(TrialLine, frozen=True):
    """What it found is null until it is done.

    ``flips_now``: verdicts that would be others now. ``flips``: had the rulebook always been in force, by tool.
    """

    flips_now: list[FlipNow] | None
    flips: list[ToolFlips] | None
    rank_moves: list[RankMove] | None
    margins: list[Margins] | None
    disagreements: list[Disagreement] | None


@post(
    "/v1/rulebooks/{digest:str}/trial",
    status_code=202,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409),
)
async def ask_trial(request: AnyRequest, digest: RulebookInPath) -> Response[TrialLine]:
    """Try a known rulebook over the whole log. A worker does it; ask at Location how it gets on."""
    pool = app_state(request).pool
    async with take_snapshot(pool) as snapshot:
        rulebook = await find_rulebook(snapshot, digest)
    begun = await trials.begin(pool, rulebook.digest)
    answer = await _answer(request, begun)
    answer.headers["Location"] = f"/v1/trials/{begun}"
    return answer


@get("/v1/trials", guards=[for_editors], responses=problem_responses(401, 403))
async def list_trials(request: AnyRequest) -> Response[Items[TrialLine]]:
    """The last fifty, newest first, without what they found."""
    pool = app_state(request).pool
    lines = await show_lines(pool, await trials.read_trials(pool))
    return Response(Items(lines), headers=_UNSEEN)


@get("/v1/trials/{id:uuid}", guards=[for_editors], responses=problem_responses(401, 403, 404))
async def show_trial(
    request: AnyRequest,
    id: FromPath[UUID],
    flips: Annotated[
        int, QueryParameter(ge=0, le=100_000, description="At most so many of each tool")
    ] = _FLIPS,
) -> Response[TrialShown]:
    """Progress while it runs; then what it found."""
    line, found = await read_found(app_state(request).pool, id, flips)
    return Response(_shown(line, found[1] if found else None), headers=_UNSEEN)


@post(
    "/v1/trials/{id:uuid}/cancel",
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409),
)
async def cancel_trial(request: AnyRequest, id: FromPath[UUID]) -> Response[TrialLine]:
    """Give it up. Nothing that anybody reads was touched."""
    await trials.cancel(app_state(request).pool, id)
    return await _answer(request, id)


@get("/v1/trials/compare", guards=[for_editors], responses=problem_responses(401, 403, 404, 409))
async def compare_trials(
    request: AnyRequest,
    ids: Annotated[str, QueryParameter(max_length=COMPARED_MAX * 40, description="Comma-separated")],
) -> Response[SideBySide]:
    """Several trials side by side: a row a tool, those that most of them would flip first."""
    found = await read_side_by_side(app_state(request).pool, ids_in(ids))
    return Response(found, headers=_UNSEEN)


async def _answer(request: AnyRequest, id: UUID) -> Response[TrialLine]:
    pool = app_state(request).pool
    (line,) = await show_lines(pool, [await trials.read_trial(pool, id)])
    return Response(line, headers=_UNSEEN)


def _shown(line: TrialLine, results: Results | None) -> TrialShown:
    found = (None,) * len(Results.__struct_fields__) if results is None else structs.astuple(results)
    return TrialShown(*structs.astuple(line), *found)
