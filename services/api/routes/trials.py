"""Trials: an editor tries a rulebook on the whole history, and reads which verdicts it would change before adopting it."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath, QueryParameter

from projections.engine.snapshot import take_snapshot
from projections.rulebooks import find_rulebook
from projections.trials import jobs as trials
from services.api.http.app_state import app_state
from services.api.http.auth import for_editors
from services.api.http.caching import NO_STORE
from services.api.http.documented import LOCATION
from services.api.http.pagination import Items
from services.api.http.problems import problem_responses
from services.api.http.public_address import public_address
from services.api.http.requests import AnyRequest
from services.api.routes.rulebooks import RulebookInPath
from services.api.views.trial_comparisons import (
    COMPARED_MAX,
    TrialComparison,
    parse_trial_ids,
    read_trial_comparison,
)
from services.api.views.trial_summaries import TrialSummary, summarize_trials
from services.api.views.trials import TrialResponse, present_trial, read_trial_results

_FLIPS = 20  # per tool, by default


@post(
    "/v1/rulebooks/{digest:str}/trial",
    status_code=202,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409),
    response_headers=[LOCATION],
)
async def ask_trial(request: AnyRequest, digest: RulebookInPath) -> Response[TrialSummary]:
    """Try a known rulebook over the whole log. A worker does it; its progress is at ``Location``."""
    pool = app_state(request).pool
    async with take_snapshot(pool) as snapshot:
        rulebook = await find_rulebook(snapshot, digest)
    trial_id = await trials.begin(pool, rulebook.digest)
    answer = await _answer(request, trial_id)
    answer.headers["Location"] = public_address(request.scope).link(f"/v1/trials/{trial_id}")
    return answer


@get("/v1/trials", guards=[for_editors], responses=problem_responses(401, 403))
async def list_trials(request: AnyRequest) -> Response[Items[TrialSummary]]:
    """The last fifty, newest first, without their results."""
    pool = app_state(request).pool
    summaries = await summarize_trials(pool, await trials.read_trials(pool))
    return Response(Items(summaries), headers=NO_STORE)


@get("/v1/trials/{id:uuid}", guards=[for_editors], responses=problem_responses(401, 403, 404))
async def show_trial(
    request: AnyRequest,
    id: FromPath[UUID],
    flips: Annotated[int, QueryParameter(ge=0, le=100_000, description="The maximum for each tool")] = _FLIPS,
) -> Response[TrialResponse]:
    """The progress while it runs; then the results."""
    summary, results = await read_trial_results(app_state(request).pool, id, flips)
    return Response(present_trial(summary, results[1] if results else None), headers=NO_STORE)


@post(
    "/v1/trials/{id:uuid}/cancel",
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409),
)
async def cancel_trial(request: AnyRequest, id: FromPath[UUID]) -> Response[TrialSummary]:
    """Cancel a trial. Trials change nothing that readers see."""
    await trials.cancel(app_state(request).pool, id)
    return await _answer(request, id)


@get("/v1/trials/compare", guards=[for_editors], responses=problem_responses(401, 403, 404, 409))
async def compare_trials(
    request: AnyRequest,
    ids: Annotated[str, QueryParameter(max_length=COMPARED_MAX * 40, description="Comma-separated")],
) -> Response[TrialComparison]:
    """Several trials side by side: one row per tool, first the tools that most of the trials would flip."""
    comparison = await read_trial_comparison(app_state(request).pool, parse_trial_ids(ids))
    return Response(comparison, headers=NO_STORE)


async def _answer(request: AnyRequest, id: UUID) -> Response[TrialSummary]:
    pool = app_state(request).pool
    (summary,) = await summarize_trials(pool, [await trials.read_trial(pool, id)])
    return Response(summary, headers=NO_STORE)
