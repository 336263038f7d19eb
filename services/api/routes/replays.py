"""Replays: an editor rebuilds a read model alongside the live one, follows its progress, and cuts over or rolls back."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from domain.shared.types import Identifier, Line
from projections.engine.parked import count_parked
from projections.engine.registry import PROJECTIONS
from projections.replays import cut_over
from projections.replays import jobs as replays
from projections.replays.jobs import Source
from projections.replays.verify import read_recounts, verify_all
from services.api.http.app_state import app_state
from services.api.http.auth import author_of, for_editors, open_to_all
from services.api.http.caching import NO_STORE
from services.api.http.documented import LOCATION
from services.api.http.json_body import StrictJSON
from services.api.http.pagination import Items
from services.api.http.problems import problem_responses
from services.api.http.public_address import public_address
from services.api.http.requests import AnyRequest
from services.api.views.drift import Drift, RecountResult, present_drift, present_recount
from services.api.views.replays import ReplayResponse, present_replay


class ReplayRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """With ``hold`` the replay waits for the cut-over after the comparison; otherwise it cuts over if both are equal.

    ``source``: where the sealed part of the log is read from.
    """

    projection: Identifier
    hold: bool = False
    source: Source = "postgres"


class CutOverRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """``reason``: why the rebuilt version is right where the two differ. It is recorded in the log."""

    reason: Annotated[Line, Meta(min_length=1)] | None = None


@post(
    "/v1/replays",
    dto=StrictJSON[ReplayRequest],
    return_dto=None,
    status_code=202,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409, 413, 415),
    response_headers=[LOCATION],
)
async def ask_replay(request: AnyRequest, data: JSONBody[ReplayRequest]) -> Response[ReplayResponse]:
    """Rebuild a read model alongside the live one. A worker does it; its progress is at ``Location``."""
    pool = app_state(request).pool
    live = replays.find(PROJECTIONS, data.projection)
    replay_id = await replays.begin(pool, live, hold=data.hold, source=data.source)
    answer = await _answer(request, replay_id)
    answer.headers["Location"] = public_address(request.scope).link(f"/v1/replays/{replay_id}")
    return answer


@get("/v1/replays", guards=[for_editors], responses=problem_responses(401, 403))
async def list_replays(request: AnyRequest) -> Response[Items[ReplayResponse]]:
    """The last hundred, newest first."""
    newest = await replays.read_replays(app_state(request).pool)
    return Response(Items([present_replay(each) for each in newest]), headers=NO_STORE)


@get("/v1/replays/{id:uuid}", guards=[for_editors], responses=problem_responses(401, 403, 404))
async def show_replay(request: AnyRequest, id: FromPath[UUID]) -> Response[ReplayResponse]:
    """The progress while it runs; then the digests, and the rows that differ."""
    return await _answer(request, id)


@post(
    "/v1/replays/{id:uuid}/pause",
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409),
)
async def pause_replay(request: AnyRequest, id: FromPath[UUID]) -> Response[ReplayResponse]:
    """Pause a replay after the ranges in progress."""
    await replays.pause(app_state(request).pool, id)
    return await _answer(request, id)


@post(
    "/v1/replays/{id:uuid}/resume",
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409),
)
async def resume_replay(request: AnyRequest, id: FromPath[UUID]) -> Response[ReplayResponse]:
    """Continue a paused replay."""
    await replays.resume(app_state(request).pool, id)
    return await _answer(request, id)


@post(
    "/v1/replays/{id:uuid}/cancel",
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409),
)
async def cancel_replay(request: AnyRequest, id: FromPath[UUID]) -> Response[ReplayResponse]:
    """Cancel a replay. The live read model is not touched."""
    await replays.cancel(app_state(request).pool, PROJECTIONS, id)
    return await _answer(request, id)


@post(
    "/v1/replays/{id:uuid}/cut-over",
    dto=StrictJSON[CutOverRequest],
    return_dto=None,
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409, 413, 415),
)
async def cut_over_replay(
    request: AnyRequest, id: FromPath[UUID], data: JSONBody[CutOverRequest]
) -> Response[ReplayResponse]:
    """Replace the live version by the rebuilt one. A reason is required where rows differ."""
    pool = app_state(request).pool
    live = replays.find(PROJECTIONS, (await replays.read_replay(pool, id)).projection)
    accepted = cut_over.Acceptance(data.reason, await author_of(request)) if data.reason else None
    await cut_over.cut_over(pool, live, id, accepted)
    return await _answer(request, id)


@post(
    "/v1/replays/{id:uuid}/roll-back",
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409),
)
async def roll_back_replay(request: AnyRequest, id: FromPath[UUID]) -> Response[ReplayResponse]:
    """Restore the version that this replay replaced. It has been kept up to date with the log since."""
    pool = app_state(request).pool
    live = replays.find(PROJECTIONS, (await replays.read_replay(pool, id)).projection)
    await cut_over.roll_back(pool, live, id)
    return await _answer(request, id)


@post("/v1/verify", status_code=200, guards=[for_editors], responses=problem_responses(401, 403))
async def verify(request: AnyRequest) -> Response[Items[RecountResult]]:
    """Recount all read models from the log now. On a large log this may exceed the time limit of a request: 503."""
    results = await verify_all(app_state(request).pool, PROJECTIONS)
    return Response(Items([present_recount(each) for each in results]), headers=NO_STORE)


@get("/v1/health/drift", guards=[open_to_all], responses=problem_responses())
async def show_drift(request: AnyRequest) -> Response[Drift]:
    """The results of the continuous recount, by read model and shard."""
    pool = app_state(request).pool
    drift = present_drift(await read_recounts(pool), await count_parked(pool))
    return Response(drift)


async def _answer(request: AnyRequest, id: UUID) -> Response[ReplayResponse]:
    replay = await replays.read_replay(app_state(request).pool, id)
    return Response(present_replay(replay), headers=NO_STORE)
