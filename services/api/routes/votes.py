"""Votes: cast one, retract it, list one's own. The answer to a write follows its commit."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, post
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta, Struct

from domain.shared.log import shard_of
from domain.shared.types import Choice, Slug
from domain.voting.identifiers import ID_REQUIREMENT, VOTER_BYTES_MAX
from eventstore import ids
from eventstore.cast_batch import Kind
from eventstore.casts import CastResult, PendingCast
from projections.my_votes import read_votes
from services.api.http.app_state import app_state
from services.api.http.auth import Voter, open_to_all, reader_of, voter_of, with_own_credentials
from services.api.http.documented import OWN_THINGS
from services.api.http.json_body import StrictJSON
from services.api.http.overload.rate_limiter import Headers
from services.api.http.pagination import Items, SlugInPath, slugs_in
from services.api.http.problems import HttpRejected, problem_responses
from services.api.http.rate_limits import admit_voter
from services.api.http.requests import AnyRequest

PATH = "/v1/votes"
VOTE_BYTES_MAX = 16 * 1024


# The limit is checked by voter_of, in bytes.
_VOTER_LENGTH = {"minLength": 1, "maxLength": VOTER_BYTES_MAX}
VoterInQuery = Annotated[
    str | None,
    QueryParameter(
        name="voter",
        description="With an API key: whose vote or bookmark it is, by any stable string of at most 128 bytes.",
        schema_extra=_VOTER_LENGTH,
        required=False,
    ),
]


class CastVote(Struct, frozen=True, forbid_unknown_fields=True):
    """``voter`` only with an API key. ``id`` is a UUIDv7: a vote that is sent again under its id counts once."""

    tool: Slug
    choice: Choice
    voter: Annotated[str, Meta(extra_json_schema=_VOTER_LENGTH)] | None = None
    id: UUID | None = None


class VoteAnswer(Struct, frozen=True):
    """``outcome`` is counted, unchanged, superseded (by a newer id) or retracted; ``choice`` is the current one of the ballot."""

    outcome: str
    position: str
    id: UUID
    choice: str | None
    replaced: str | None


class OwnVote(Struct, frozen=True):
    tool: str
    choice: Choice
    position: str


@post(
    PATH,
    status_code=200,
    dto=StrictJSON[CastVote],
    return_dto=None,
    guards=[with_own_credentials],
    responses=problem_responses(401, 403, 404, 409, 410, 413, 415, 429),
    request_max_body_size=VOTE_BYTES_MAX,
)
async def cast_vote(request: AnyRequest, data: JSONBody[CastVote]) -> Response[VoteAnswer]:
    """Vote ship or skip on a tool. Of several votes on one ballot, the one with the newest id counts."""
    voter = await voter_of(request, data.voter)
    limits = await admit_voter(request, voter)
    tool = await app_state(request).tool_directory.open_for_votes(data.tool)
    result = await submit(request, voter, "v", tool, data.choice, data.id)
    return _respond(answer_to(result), voter, limits)


@delete(
    "/v1/votes/{tool:str}",
    status_code=200,
    guards=[with_own_credentials],
    responses=problem_responses(401, 403, 404, 409, 410, 429),
)
async def retract_vote(
    request: AnyRequest,
    tool: SlugInPath,
    voter: VoterInQuery = None,
    vote_id: Annotated[UUID | None, QueryParameter(name="id", required=False)] = None,
) -> Response[VoteAnswer]:
    """Retract a vote. It stays in the log, but the tally no longer counts it."""
    own = await voter_of(request, voter)
    limits = await admit_voter(request, own)
    number = await app_state(request).tool_directory.open_for_votes(tool)
    result = await submit(request, own, "v", number, None, vote_id)
    return _respond(answer_to(result), own, limits)


@get("/v1/me/votes", guards=[open_to_all], security=OWN_THINGS, responses=problem_responses(401, 403, 404))
async def own_votes(
    request: AnyRequest,
    tools: Annotated[
        str | None, QueryParameter(description="Slugs, comma-separated", max_length=4000)
    ] = None,
    voter: VoterInQuery = None,
) -> Response[Items[OwnVote]]:
    """The visitor's current choices, read from the ballots themselves and so never behind the log.

    With an API key that has the scope votes:write or read, those of the ``voter`` it names.
    """
    reader = await reader_of(request, voter)
    tool_directory = app_state(request).tool_directory
    wanted = None if tools is None else [(await tool_directory.find(slug)).tool for slug in slugs_in(tools)]
    votes = []
    if reader is not None:
        actor = reader.actor
        votes = await read_votes(
            app_state(request).pool, shard_of(actor, app_state(request).shards), actor, wanted
        )
    slugs = await tool_directory.slugs_of([vote.tool for vote in votes])
    return Response(
        Items([OwnVote(slugs[vote.tool], vote.choice, str(vote.position)) for vote in votes]),
        cookies=reader.cookies if reader else None,
        headers={"Cache-Control": "private, no-store"},
    )


async def submit(
    request: AnyRequest, voter: Voter, kind: Kind, tool: int, choice: str | None, id: UUID | None
) -> CastResult:
    """Append one cast and wait for its commit. Raises Rejected for an id that cannot be used."""
    if id is not None and not ids.is_acceptable(id):
        raise HttpRejected(400, "invalid-id", ID_REQUIREMENT)
    cast = PendingCast(kind, voter.actor, tool, choice, id or ids.mint(), voter.source, id_is_ours=id is None)
    result: CastResult = await app_state(request).appenders.append(cast)
    return result


def answer_to(result: CastResult) -> VoteAnswer:
    retracted = result.choice is None and result.outcome == "counted"
    outcome = "retracted" if retracted else result.outcome
    return VoteAnswer(outcome, str(result.position), result.id, result.choice, result.replaced)


def _respond(answer: VoteAnswer, voter: Voter, limits: Headers) -> Response[VoteAnswer]:
    headers = {"Cache-Control": "no-store", **limits}
    return Response(answer, cookies=voter.cookies, headers=headers)
