"""Replays: an editor rebuilds a read model beside the live one, watches it, and decides what becomes of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta, Struct

from domain.shared.types import Line
from projections.engine.parked import count_parked
from projections.engine.registry import PROJECTIONS
from projections.replays import cut_over
from projections.replays import jobs as replays
from projections.replays.jobs import Source
from projections.replays.verify import Verification, read_verifications, verify_all
from services.api.http.app_state import app_state
from services.api.http.auth import author_of, for_editors, open_to_all
from services.api.http.json_body import StrictJSON
from services.api.http.pagination import Items
from services.api.http.problems import problem_responses
from services.api.http.requests import AnyRequest
from services.api.views.progress import ReplayShown, show_replay_state

_UNSEEN = {"Cache-Control": "no-store"}


class AskReplay(Struct, frozen=True, forbid_unknown_fields=True):
    """With ``hold`` it is compared and waits for the cut-over; else it cuts over by itself if both are equal.

    ``source``: where the sealed part of the log is read.
    """

    projection: Annotated[str, Meta(pattern=r"^[a-z_]+\Z", max_length=60)]
    hold: bool = False
    source: Source = "postgres"


class AskCutOver(Struct, frozen=True, forbid_unknown_fields=True):
    """``reason``: why the rebuilt version is right where it differs. It goes into the log."""

    reason: Annotated[Line, Meta(min_length=1)] | None = None


class DriftShown(Struct, frozen=True):
    """Of one read model in one shard; ``drift`` is null where the recount could not be finished."""

    projection: str
    shard: int
    position: str
    digest: str
    drift: int | None
    rows: list[str]
    verified_at: datetime


class Drift(Struct, frozen=True):
    """``drifting`` if any row differs; ``unknown`` if nothing was verified yet, or a recount could not end.

    ``incomplete``: how many events a read model could not fold. A recount leaves them out, as the read model does.
    """

    status: Literal["equal", "drifting", "unknown"]
    read_models: list[DriftShown]
    incomplete: dict[str, int]


class Recounted(Struct, frozen=True):
    """``rows``: the first hundred that differ, each with who says so, the log or the read model."""

    projection: str
    position: str
    digest: str | None
    drift: int
    rows: list[str]


@post(
    "/v1/replays",
    dto=StrictJSON[AskReplay],
    return_dto=None,
    status_code=202,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409, 413, 415),
)
async def ask_replay(request: AnyRequest, data: JSONBody[AskReplay]) -> Response[ReplayShown]:
    """Rebuild a read model beside the live one. A worker does it; ask here how it gets on."""
    pool = app_state(request).pool
    live = replays.find(PROJECTIONS, data.projection)
    begun = await replays.begin(pool, live, hold=data.hold, source=data.source)
    answer = await _answer(request, begun)
    answer.headers["Location"] = f"/v1/replays/{begun}"
    return answer


@get("/v1/replays", guards=[for_editors], responses=problem_responses(401, 403))
async def list_replays(request: AnyRequest) -> Response[Items[ReplayShown]]:
    """The last hundred, newest first."""
    found = await replays.read_replays(app_state(request).pool)
    return Response(Items([show_replay_state(each) for each in found]), headers=_UNSEEN)


@get("/v1/replays/{id:uuid}", guards=[for_editors], responses=problem_responses(401, 403, 404))
async def show_replay(request: AnyRequest, id: FromPath[UUID]) -> Response[ReplayShown]:
    """Progress while it runs; then digests, and the rows that differ."""
    return await _answer(request, id)


@post(
    "/v1/replays/{id:uuid}/pause",
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409),
)
async def pause_replay(request: AnyRequest, id: FromPath[UUID]) -> Response[ReplayShown]:
    """The ranges in hand are finished first."""
    await replays.pause(app_state(request).pool, id)
    return await _answer(request, id)


@post(
    "/v1/replays/{id:uuid}/resume",
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409),
)
async def resume_replay(request: AnyRequest, id: FromPath[UUID]) -> Response[ReplayShown]:
    """Go on from where it was paused."""
    await replays.resume(app_state(request).pool, id)
    return await _answer(request, id)


@post(
    "/v1/replays/{id:uuid}/cancel",
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409),
)
async def cancel_replay(request: AnyRequest, id: FromPath[UUID]) -> Response[ReplayShown]:
    """Give it up. The live read model was never touched."""
    await replays.cancel(app_state(request).pool, PROJECTIONS, id)
    return await _answer(request, id)


@post(
    "/v1/replays/{id:uuid}/cut-over",
    dto=StrictJSON[AskCutOver],
    return_dto=None,
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409, 413, 415),
)
async def cut_over_replay(
    request: AnyRequest, id: FromPath[UUID], data: JSONBody[AskCutOver]
) -> Response[ReplayShown]:
    """Put the rebuilt version in the live one's place. Where rows differ, it takes a reason."""
    pool = app_state(request).pool
    live = replays.find(PROJECTIONS, (await replays.read_replay(pool, id)).projection)
    accepted = cut_over.Accepted(data.reason, await author_of(request)) if data.reason else None
    await cut_over.cut_over(pool, live, id, accepted)
    return await _answer(request, id)


@post(
    "/v1/replays/{id:uuid}/roll-back",
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409),
)
async def roll_back_replay(request: AnyRequest, id: FromPath[UUID]) -> Response[ReplayShown]:
    """Put the version that this replay replaced back in its place. It has moved on with the log since."""
    pool = app_state(request).pool
    live = replays.find(PROJECTIONS, (await replays.read_replay(pool, id)).projection)
    await cut_over.roll_back(pool, live, id)
    return await _answer(request, id)


@post("/v1/verify", status_code=200, guards=[for_editors], responses=problem_responses(401, 403))
async def verify(request: AnyRequest) -> Response[Items[Recounted]]:
    """Recount all read models from the log now. On a large log this may take longer than an answer may: then 503."""
    found = await verify_all(app_state(request).pool, PROJECTIONS)
    shown = [Recounted(each.projection, each.position, each.digest, each.drift, each.rows) for each in found]
    return Response(Items(shown), headers=_UNSEEN)


@get("/v1/health/drift", guards=[open_to_all], responses=problem_responses())
async def show_drift(request: AnyRequest) -> Response[Drift]:
    """What the continuous recount last found, by read model and shard."""
    pool = app_state(request).pool
    found = await read_verifications(pool)
    drift = Drift(_status(found), [_drift_shown(each) for each in found], await count_parked(pool))
    return Response(drift, headers=_UNSEEN)


async def _answer(request: AnyRequest, id: UUID) -> Response[ReplayShown]:
    found = await replays.read_replay(app_state(request).pool, id)
    return Response(show_replay_state(found), headers=_UNSEEN)


def _status(found: list[Verification]) -> Literal["equal", "drifting", "unknown"]:
    if any(each.drift for each in found):
        return "drifting"
    return "unknown" if not found or any(each.drift is None for each in found) else "equal"


def _drift_shown(each: Verification) -> DriftShown:
    return DriftShown(
        each.projection,
        each.shard,
        f"{each.shard}.{each.position}",
        each.digest,
        each.drift,
        each.rows,
        each.verified_at,
    )
