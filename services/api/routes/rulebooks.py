"""Rulebooks: written, read, and put in force by editors; for all to see which is and was."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from litestar import Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, PathParameter
from msgspec import Meta, Struct, structs

from domain.editorial.adoptions import (
    AdoptRulebook,
    CallOff,
    Command,
    RollBack,
    ScheduleAdoption,
    WriteRulebook,
)
from domain.rulebooks.rulebook import Rulebook, normalize, read_rulebook
from domain.rulebooks.toml import write_rulebook
from domain.shared.types import END, Line
from eventstore.rulebook_decisions import AdoptionResult, decide_adoption
from projections.adoptions import (
    READ_BY_RULE,
    Adoption,
    Step,
    read_adoptions,
    rulebook_in_force,
    scheduled,
)
from projections.rulebooks import Known, find_known, read_rulebooks
from services.api.http.app_state import app_state
from services.api.http.auth import author_of, for_editors, open_to_all
from services.api.http.consistency import AsOf, MinPosition, headers_of, snapshot_at
from services.api.http.json_body import StrictJSON
from services.api.http.pagination import Items
from services.api.http.problems import HttpRejected, problem_responses
from services.api.http.requests import AnyRequest
from services.api.routes.tools import announce_editorial, position_of

Reason = Annotated[Line, Meta(min_length=1)]
RulebookInPath = Annotated[
    str,
    PathParameter(
        description="A digest, or a name: then the newest rulebook of that name",
        pattern=rf"^(sha256:[0-9a-f]{{64}}|[a-z0-9]+(-[a-z0-9]+)*){END}",
        max_length=100,
    ),
]
_TOML_TYPES = {"application/toml", "application/toml;charset=utf-8"}


class RulebookBody(StrictJSON[Rulebook]):
    """JSON, or TOML under ``application/toml``."""

    def decode_bytes(self, value: bytes) -> Any:
        sent = self.asgi_connection.headers.get("content-type", "").lower().replace(" ", "")
        if sent in _TOML_TYPES:
            return read_rulebook(_text(value))
        return normalize(super().decode_bytes(value))


class RulebookWrittenAnswer(Struct, frozen=True):
    """``digest`` is the SHA-256 of ``canonical``; ``position`` is null where the rulebook was known."""

    digest: str
    canonical: str
    position: str | None


class RulebookListed(Struct, frozen=True):
    """``named`` ones come with Shiplog. ``adopted_at``: when it last came into force; ``scheduled``: when it is to."""

    digest: str
    name: str
    title: str
    description: str
    origin: Literal["named", "written"]
    written_at: datetime | None
    in_force: bool
    adopted_at: datetime | None
    scheduled: datetime | None


class RulebookShown(RulebookListed, frozen=True):
    """``canonical`` is what the digest is of, ``toml`` the same for people."""

    rulebook: Rulebook
    canonical: str
    toml: str


class AskAdoption(Struct, frozen=True, forbid_unknown_fields=True):
    """``effective_at``: a time to come, with its zone; without it the rulebook is in force at once."""

    reason: Reason
    effective_at: Annotated[datetime, Meta(tz=True)] | None = None


class AskRollBack(Struct, frozen=True, forbid_unknown_fields=True):
    reason: Reason


class AdoptionAnswer(Struct, frozen=True):
    """What is in force, and what is scheduled by digest, at ``position``; that is null when nothing changed."""

    in_force: str
    scheduled: dict[str, datetime]
    position: str | None


class AdoptionShown(Struct, frozen=True):
    """``replaces`` is the digest of the rulebook that was in force before. Whose step it was is not told."""

    position: str
    recorded_at: datetime
    step: Step
    digest: str
    replaces: str | None
    reason: str | None
    effective_at: datetime | None


@post(
    "/v1/rulebooks",
    dto=RulebookBody,
    return_dto=None,
    status_code=201,
    guards=[for_editors],
    responses=problem_responses(401, 403, 409, 413, 415)
    | {200: ResponseSpec(RulebookWrittenAnswer, description="It was known")},
    request_max_body_size=64 * 1024,
)
async def put_rulebook(request: AnyRequest, data: JSONBody[Rulebook]) -> Response[RulebookWrittenAnswer]:
    """Write a rulebook as JSON, or as TOML (`application/toml`): 201 if it is new, 200 if it is known."""
    decided = (await _decide(request, WriteRulebook(data))).decided
    answer = RulebookWrittenAnswer(data.digest, data.canonical.decode(), position_of(decided))
    headers = {"Location": f"/v1/rulebooks/{data.digest}"}
    return Response(answer, status_code=201 if decided.recorded else 200, headers=headers)


@get("/v1/rulebooks", guards=[open_to_all], responses=problem_responses(404))
async def list_rulebooks(
    request: AnyRequest, as_of: AsOf = None, min_position: MinPosition = None
) -> Response[Items[RulebookListed]]:
    """All that are known, those that come with Shiplog first."""
    async with snapshot_at(app_state(request).pool, min_position, READ_BY_RULE, as_of=as_of) as snapshot:
        known = await read_rulebooks(snapshot)
        steps, in_force = await read_adoptions(snapshot), await rulebook_in_force(snapshot)
        freshness = await snapshot.freshness()
    items = [_listed(each, steps, in_force) for each in known]
    return Response(Items(items), headers=headers_of(freshness))


@get("/v1/rulebooks/adoptions", guards=[open_to_all], responses=problem_responses(404))
async def list_adoptions(
    request: AnyRequest, as_of: AsOf = None, min_position: MinPosition = None
) -> Response[Items[AdoptionShown]]:
    """Which rulebook was adopted, rolled back to, scheduled or called off, newest first."""
    async with snapshot_at(app_state(request).pool, min_position, READ_BY_RULE, as_of=as_of) as snapshot:
        steps = await read_adoptions(snapshot)
        freshness = await snapshot.freshness()
    return Response(Items([_adoption(each) for each in steps]), headers=headers_of(freshness))


@get("/v1/rulebooks/{digest:str}", guards=[open_to_all], responses=problem_responses(404))
async def show_rulebook(
    request: AnyRequest, digest: RulebookInPath, as_of: AsOf = None, min_position: MinPosition = None
) -> Response[RulebookShown]:
    """One rulebook, as data and as text."""
    async with snapshot_at(app_state(request).pool, min_position, READ_BY_RULE, as_of=as_of) as snapshot:
        known = await find_known(snapshot, digest)
        listed = _listed(known, await read_adoptions(snapshot), await rulebook_in_force(snapshot))
        freshness = await snapshot.freshness()
    return Response(_shown(listed, known.rulebook), headers=headers_of(freshness))


@post(
    "/v1/rulebooks/{digest:str}/adopt",
    dto=StrictJSON[AskAdoption],
    return_dto=None,
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 404, 413, 415),
)
async def adopt_rulebook(
    request: AnyRequest, digest: RulebookInPath, data: JSONBody[AskAdoption]
) -> Response[AdoptionAnswer]:
    """Put a rulebook in force, now or at a time to come. All verdicts are by it from that position of the log on."""
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
async def call_off_adoption(request: AnyRequest, digest: RulebookInPath) -> Response[AdoptionAnswer]:
    """Let an adoption that is scheduled not take place."""
    return await _answer(request, CallOff(digest))


@post(
    "/v1/rulebooks/roll-back",
    dto=StrictJSON[AskRollBack],
    return_dto=None,
    status_code=200,
    guards=[for_editors],
    responses=problem_responses(401, 403, 409, 413, 415),
)
async def roll_back_adoption(request: AnyRequest, data: JSONBody[AskRollBack]) -> Response[AdoptionAnswer]:
    """Put the rulebook back in force that the last adoption replaced; asked again, the one before that."""
    return await _answer(request, RollBack(data.reason))


async def _answer(request: AnyRequest, command: Command) -> Response[AdoptionAnswer]:
    outcome = await _decide(request, command)
    times = {digest: each.effective_at for digest, each in outcome.state.scheduled.items()}
    return Response(AdoptionAnswer(outcome.state.in_force, times, position_of(outcome.decided)))


async def _decide(request: AnyRequest, command: Command) -> AdoptionResult:
    outcome = await decide_adoption(app_state(request).pool, command, await author_of(request))
    await announce_editorial(request, outcome.decided)
    return outcome


def _listed(known: Known, steps: list[Adoption], in_force: Rulebook) -> RulebookListed:
    book, to_come = known.rulebook, scheduled(steps).get(known.rulebook.digest)
    adopted = [each.recorded_at for each in steps if each.digest == book.digest and each.replaces]
    return RulebookListed(
        book.digest,
        book.name,
        book.title,
        book.description,
        "named" if known.written_at is None else "written",
        known.written_at,
        book == in_force,
        adopted[0] if adopted else None,
        to_come.effective_at if to_come else None,
    )


def _shown(listed: RulebookListed, book: Rulebook) -> RulebookShown:
    return RulebookShown(
        **structs.asdict(listed), rulebook=book, canonical=book.canonical.decode(), toml=write_rulebook(book)
    )


def _adoption(each: Adoption) -> AdoptionShown:
    return AdoptionShown(
        str(each.position),
        each.recorded_at,
        each.step,
        each.digest,
        each.replaces,
        each.reason,
        each.effective_at,
    )


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise HttpRejected(
            400, "invalid", "effective_at: this time lies beyond the year 9999 in UTC."
        ) from None


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise HttpRejected(400, "invalid", "This is not UTF-8.") from None
