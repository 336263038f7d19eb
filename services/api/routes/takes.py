"""Takes: reviewers publish, supersede and withdraw their judgements of tools."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import reduce

from litestar import Response, delete, get, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from msgspec import Struct

from domain.editorial.takes import PanelTakes, PublishTake, WithdrawTake, decide, evolve
from domain.events.editorial import EditorialEvent
from domain.shared.types import Choice, Score, Text
from eventstore.decisions import decide_tool
from projections.scorecard import SCORECARD, read_take_history
from services.api.http.app_state import app_state
from services.api.http.auth import author_of, for_takes, open_to_all
from services.api.http.consistency import MinPosition, headers_of, snapshot_at
from services.api.http.json_body import StrictJSON
from services.api.http.pagination import Items, SlugInPath
from services.api.http.problems import problem_responses
from services.api.http.requests import AnyRequest
from services.api.routes.tools import announce_editorial, position_of


class TakeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    score: Score
    choice: Choice
    text: Text


class TakeRevisionResponse(Struct, frozen=True):
    """``position`` is the log position of the change; null when nothing changed."""

    revision: int
    position: str | None


class PastTakeResponse(Struct, frozen=True):
    """A withdrawal has no score, choice or text."""

    revision: int
    score: int | None
    choice: Choice | None
    text: str | None
    published_at: datetime


@put(
    "/v1/tools/{slug:str}/takes/{reviewer:str}",
    dto=StrictJSON[TakeRequest],
    return_dto=None,
    status_code=200,
    guards=[for_takes],
    responses=problem_responses(401, 403, 404, 410, 413, 415)
    | {201: ResponseSpec(TakeRevisionResponse, description="Published")},
    request_max_body_size=64 * 1024,
)
async def put_take(
    request: AnyRequest, slug: SlugInPath, reviewer: SlugInPath, data: JSONBody[TakeRequest]
) -> Response[TakeRevisionResponse]:
    """Publish the reviewer's take (201), or supersede it (200). Earlier takes stay in its history."""
    return await _decide(request, PublishTake(slug, reviewer, data.score, data.choice, data.text))


@delete(
    "/v1/tools/{slug:str}/takes/{reviewer:str}",
    status_code=200,
    guards=[for_takes],
    responses=problem_responses(401, 403, 404, 410),
)
async def withdraw_take(
    request: AnyRequest, slug: SlugInPath, reviewer: SlugInPath
) -> Response[TakeRevisionResponse]:
    """Withdraw the take: the scorecard says "No panel take" again."""
    return await _decide(request, WithdrawTake(slug, reviewer))


@get(
    "/v1/tools/{slug:str}/takes/{reviewer:str}/history",
    guards=[open_to_all],
    responses=problem_responses(404),
)
async def take_history(
    request: AnyRequest, slug: SlugInPath, reviewer: SlugInPath, min_position: MinPosition = None
) -> Response[Items[PastTakeResponse]]:
    """Every revision of the take, newest first."""
    tool = (await app_state(request).tool_directory.find(slug)).tool
    async with snapshot_at(app_state(request).pool, min_position, [SCORECARD]) as snapshot:
        past = await read_take_history(snapshot, tool, reviewer)
        freshness = await snapshot.freshness()
    items = [
        PastTakeResponse(each.revision, each.score, each.choice, each.text, each.published_at)
        for each in past
    ]
    return Response(Items(items), headers=headers_of(freshness))


async def _decide(request: AnyRequest, command: PublishTake | WithdrawTake) -> Response[TakeRevisionResponse]:
    author, panel = await author_of(request), PanelTakes()

    def decide_on(past: Sequence[EditorialEvent]) -> list[EditorialEvent]:
        nonlocal panel
        panel = reduce(evolve, past, PanelTakes())
        return decide(command, panel)

    async with app_state(request).pool.acquire() as conn:
        decided = await decide_tool(conn, command.tool, decide_on, author)
    await announce_editorial(request, decided)
    before = panel.takes.get(command.reviewer)
    after = reduce(evolve, decided.events, panel).takes.get(command.reviewer)
    answer = TakeRevisionResponse(after.revision if after else 0, position_of(decided))
    return Response(answer, status_code=201 if after and not before else 200)
