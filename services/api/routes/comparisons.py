"""Comparisons of two tools: scorecard rows aligned, and the winner with the clause that decided."""

from __future__ import annotations

from litestar import Response, get

from services.api.http.app_state import app_state
from services.api.http.auth import open_to_all
from services.api.http.consistency import AsOf, MinPosition, headers_of, snapshot_at
from services.api.http.pagination import SlugInPath
from services.api.http.problems import problem_responses
from services.api.http.requests import AnyRequest
from services.api.views.cards import READ_BY_CARDS
from services.api.views.comparisons import ComparisonResponse, present_comparison, read_comparison


@get("/v1/comparisons/{left:str}/{right:str}", guards=[open_to_all], responses=problem_responses(404))
async def show_comparison(
    request: AnyRequest,
    left: SlugInPath,
    right: SlugInPath,
    as_of: AsOf = None,
    min_position: MinPosition = None,
) -> Response[ComparisonResponse]:
    """Either order is the same comparison, mirrored. A tool against itself is a 404."""
    async with snapshot_at(app_state(request).pool, min_position, READ_BY_CARDS, as_of=as_of) as snapshot:
        comparison, freshness = await read_comparison(
            snapshot, app_state(request).tool_directory, left, right
        )
    return Response(present_comparison(comparison), headers=headers_of(freshness))
