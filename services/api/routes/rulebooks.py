"""Rulebooks: editors write, adopt, schedule and roll back; everybody reads rulebooks and adoptions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from litestar import Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, PathParameter
from msgspec import Meta, Struct

from domain.editorial.adoptions import (
    AdoptRulebook,
    CallOff,
    Command,
    RollBack,
    ScheduleAdoption,
    WriteRulebook,
)
from domain.rulebooks.rulebook import Rulebook, normalize, read_rulebook
from domain.shared.types import DIGEST_OR_SLUG, Line
from eventstore.rulebook_decisions import AdoptionResult, decide_adoption
from projections.adoptions import RULEBOOK_READ_MODELS, read_adoptions, rulebook_in_force
from projections.rulebooks import find_known_rulebook, read_rulebooks
from services.api.http.app_state import app_state
from services.api.http.auth import author_of, for_editors, open_to_all
from services.api.http.consistency import AsOf, MinPosition, headers_of, snapshot_at
from services.api.http.documented import LOCATION, reads_body
from services.api.http.json_body import StrictJSON
from services.api.http.pagination import Items
from services.api.http.problems import HttpRejected, problem_responses
from services.api.http.public_address import public_address
from services.api.http.requests import AnyRequest
from services.api.routes.tools import announce_editorial, position_of
from services.api.views.rulebooks import (
    AdoptionResponse,
    RulebookResponse,
    RulebookSummary,
    present_adoption,
    present_rulebook,
    summarize_rulebook,
)

Reason = Annotated[Line, Meta(min_length=1)]
RulebookInPath = Annotated[
    str,
    PathParameter(
        description="A digest, or a name: then the newest rulebook of that name",
        pattern=DIGEST_OR_SLUG,
        max_length=100,
    ),
]
_TOML_TYPES = {"application/toml", "application/toml;charset=utf-8"}


class RulebookBody(StrictJSON[Rulebook]):
    """JSON, or TOML with the content type ``application/toml``."""

    def decode_bytes(self, value: bytes) -> Any:
        sent = self.asgi_connection.headers.get("content-type", "").lower().replace(" ", "")
        if sent in _TOML_TYPES:
            return read_rulebook(_text(value))
        return normalize(super().decode_bytes(value))


class PutRulebookResponse(Struct, frozen=True):
    """``digest`` is the SHA-256 of ``canonical``; ``position`` is null if the rulebook was known already."""

    digest: str
    canonical: str
    position: str | None


class AdoptionRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """``effective_at``: a time in the future, with its zone; without it the rulebook is in force at once."""

    reason: Reason
    effective_at: Annotated[datetime, Meta(tz=True)] | None = None


class RollBackRequest(Struct, frozen=True, forbid_unknown_fields=True):
    reason: Reason


class AdoptionStateResponse(Struct, frozen=True):
    """The digest in force, and the times of scheduled adoptions by digest; ``position`` is null when nothing changed."""

    in_force: str
    scheduled: dict[str, datetime]
    position: str | None


@post(
    "/v1/rulebooks",
    dto=RulebookBody,
    return_dto=None,
    status_code=201,
    guards=[for_editors],
    responses=problem_responses(401, 403, 409, 413, 415)
    | {200: ResponseSpec(PutRulebookResponse, description="It was known already")},
    response_headers=[LOCATION],
    opt=reads_body({"application/json": Rulebook, "application/toml": str}),
    request_max_body_size=64 * 1024,
)
async def put_rulebook(request: AnyRequest, data: JSONBody[Rulebook]) -> Response[PutRulebookResponse]:
    """Write a rulebook as JSON, or as TOML (`application/toml`): 201 if it is new, 200 if it is known already."""
    decided = (await _decide(request, WriteRulebook(data))).decision
    answer = PutRulebookResponse(data.digest, data.canonical.decode(), position_of(decided))
    headers = {"Location": public_address(request.scope).link(f"/v1/rulebooks/{data.digest}")}
    return Response(answer, status_code=201 if decided.recorded else 200, headers=headers)


@get("/v1/rulebooks", guards=[open_to_all], responses=problem_responses(404))
async def list_rulebooks(
    request: AnyRequest, as_of: AsOf = None, min_position: MinPosition = None
) -> Response[Items[RulebookSummary]]:
    """All rulebooks, those that come with Shiplog first."""
    async with snapshot_at(
        app_state(request).pool, min_position, RULEBOOK_READ_MODELS, as_of=as_of
    ) as snapshot:
        known = await read_rulebooks(snapshot)
        adoptions, in_force = await read_adoptions(snapshot), await rulebook_in_force(snapshot)
        freshness = await snapshot.freshness()
    items = [summarize_rulebook(each, adoptions, in_force) for each in known]
    return Response(Items(items), headers=headers_of(freshness))


@get("/v1/rulebooks/adoptions", guards=[open_to_all], responses=problem_responses(404))
async def list_adoptions(
    request: AnyRequest, as_of: AsOf = None, min_position: MinPosition = None
) -> Response[Items[AdoptionResponse]]:
    """All adoptions, roll-backs, schedules and cancellations, newest first."""
    async with snapshot_at(
        app_state(request).pool, min_position, RULEBOOK_READ_MODELS, as_of=as_of
    ) as snapshot:
        adoptions = await read_adoptions(snapshot)
        freshness = await snapshot.freshness()
    return Response(Items([present_adoption(each) for each in adoptions]), headers=headers_of(freshness))


@get("/v1/rulebooks/{digest:str}", guards=[open_to_all], responses=problem_responses(404))
async def show_rulebook(
    request: AnyRequest, digest: RulebookInPath, as_of: AsOf = None, min_position: MinPosition = None
) -> Response[RulebookResponse]:
    """One rulebook, as data and as text."""
    async with snapshot_at(
        app_state(request).pool, min_position, RULEBOOK_READ_MODELS, as_of=as_of
    ) as snapshot:
        known = await find_known_rulebook(snapshot, digest)
        adoptions, in_force = await read_adoptions(snapshot), await rulebook_in_force(snapshot)
        freshness = await snapshot.freshness()
    summary = summarize_rulebook(known, adoptions, in_force)
    return Response(present_rulebook(summary, known.rulebook), headers=headers_of(freshness))


@post(
    "/v1/rulebooks/{digest:str}/adopt",
    dto=StrictJSON[AdoptionRequest],
    return_dto=None,
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 413, 415),
)
async def adopt_rulebook(
    request: AnyRequest, digest: RulebookInPath, data: JSONBody[AdoptionRequest]
) -> Response[AdoptionStateResponse]:
    """Put a rulebook in force, now or at a time in the future. All verdicts follow it from that log position on."""
    if data.effective_at is None:
        return await _answer(request, AdoptRulebook(digest, data.reason))
    effective_at = _in_utc(data.effective_at)
    return await _answer(request, ScheduleAdoption(digest, data.reason, effective_at, datetime.now(UTC)))


@post(
    "/v1/rulebooks/{digest:str}/call-off",
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 409),
)
async def call_off_adoption(request: AnyRequest, digest: RulebookInPath) -> Response[AdoptionStateResponse]:
    """Cancel a scheduled adoption."""
    return await _answer(request, CallOff(digest))


@post(
    "/v1/rulebooks/roll-back",
    dto=StrictJSON[RollBackRequest],
    return_dto=None,
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 409, 413, 415),
)
async def roll_back_adoption(
    request: AnyRequest, data: JSONBody[RollBackRequest]
) -> Response[AdoptionStateResponse]:
    """Put the rulebook back in force that the last adoption replaced; a second call goes one adoption further back."""
    return await _answer(request, RollBack(data.reason))


async def _answer(request: AnyRequest, command: Command) -> Response[AdoptionStateResponse]:
    result = await _decide(request, command)
    times = {digest: each.effective_at for digest, each in result.state.scheduled.items()}
    return Response(AdoptionStateResponse(result.state.in_force, times, position_of(result.decision)))


async def _decide(request: AnyRequest, command: Command) -> AdoptionResult:
    result = await decide_adoption(app_state(request).pool, command, await author_of(request))
    await announce_editorial(request, result.decision)
    return result


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise HttpRejected(400, "invalid", "effective_at: this time is after the year 9999 in UTC.") from None


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise HttpRejected(400, "invalid", "This is not UTF-8.") from None
