"""Errors as RFC 9457 problem details: a stable type, and for people what happened and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import asyncpg
import msgspec
import structlog
from litestar import Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent
from msgspec import Struct

from domain.editorial.adoptions import InThePast
from domain.editorial.reviewers import ReservedSlug
from domain.rulebooks.rulebook import InvalidRulebook
from domain.shared.errors import (
    NotListedYet,
    Rejected,
    Retired,
    RetiredReviewer,
    RevisionConflict,
    Unknown,
)
from domain.webhooks.endpoints import InvalidEndpoint
from eventstore.appender import CommitUnknown, Overloaded
from eventstore.as_of_positions import AppendInFlight, InTheFuture, NoSuchEvent, WrongPositions
from projections.engine.follower import TooManyWaiters
from projections.engine.snapshot import ReadModelBehind
from services.api.http.caching import NOSNIFF
from services.auth.accounts import InvalidUserName, UnknownUser

MEDIA_TYPE = "application/problem+json"
Answer = tuple[HTTPResponseStartEvent, HTTPResponseBodyEvent]
_log = structlog.get_logger()


class Problem(Struct, frozen=True, omit_defaults=True):
    """``type`` is stable: programs may rely on it. ``detail`` is for people."""

    type: str
    title: str
    status: int
    detail: str


class HttpRejected(Exception):
    """Raised to answer a request with this status and problem."""

    def __init__(self, status: int, slug: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.slug, self.detail, self.headers = status, slug, detail, dict(headers or {})
        super().__init__(detail)


_STATUSES: dict[type[Rejected], int] = {
    Unknown: 404,
    NotListedYet: 404,
    NoSuchEvent: 404,
    InTheFuture: 400,
    WrongPositions: 400,
    InvalidRulebook: 400,
    InThePast: 400,
    Retired: 410,
    RetiredReviewer: 410,
    ReservedSlug: 400,
    InvalidEndpoint: 400,
    InvalidUserName: 400,
    UnknownUser: 404,
    RevisionConflict: 412,
}
_RETRY = {"Retry-After": "1"}
# The framework's error for a body with broken framing, which it would answer with a 500.
_BODY_BROKEN = "client disconnected prematurely"
_RESOURCE_ERRORS = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresSystemError,
    asyncpg.InternalServerError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


def problem_of(error: Exception) -> HttpRejected:
    """The answer to any exception. An unexpected one is a 500 that reveals nothing about its cause."""
    match error:
        case HttpRejected():
            return error
        case Rejected():
            return HttpRejected(_STATUSES.get(type(error), 409), error.slug, str(error))
        case Overloaded() | ReadModelBehind() | TooManyWaiters() | AppendInFlight():
            return HttpRejected(503, "try-again", type(error).__doc__ or "", _RETRY)
        case CommitUnknown():
            return HttpRejected(503, "unsettled", CommitUnknown.__doc__ or "", _RETRY)
        case _ if isinstance(error, _RESOURCE_ERRORS):
            _log.error("the database or another resource failed", error=repr(error))
            return HttpRejected(
                503,
                "try-again",
                "The database did not answer. Nothing is confirmed as stored; try again in a second.",
                _RETRY,
            )
        case HTTPException():
            return _framework_problem(error)
        case _:
            _log.exception("unexpected error", exc_info=error)
            return HttpRejected(500, "internal", "Something went wrong on our side. It has been logged.")


def render(rejected: HttpRejected) -> Response[bytes]:
    problem = Problem(
        f"urn:shiplog:{rejected.slug}", HTTPStatus(rejected.status).phrase, rejected.status, rejected.detail
    )
    return Response(
        msgspec.json.encode(problem),
        status_code=rejected.status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **NOSNIFF, **rejected.headers},
    )


def messages(rejected: HttpRejected) -> Answer:
    """The same answer as ASGI messages, for the layers around the framework."""
    answer = render(rejected)
    named = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(answer.content)), **answer.headers}
    headers = [(name.lower().encode(), value.encode()) for name, value in named.items()]
    return (
        {"type": "http.response.start", "status": rejected.status, "headers": headers},
        {"type": "http.response.body", "body": answer.content, "more_body": False},
    )


def problem_responses(*statuses: int) -> dict[int, ResponseSpec]:
    """The problems a route documents in OpenAPI: these, 400, 401 and 503, and 408 for a route that takes a body (413)."""
    return {
        status: ResponseSpec(
            Problem, description=HTTPStatus(status).phrase, media_type=MEDIA_TYPE, generate_examples=False
        )
        for status in sorted({400, 401, 503, *statuses, *([408] if 413 in statuses else [])})
    }


def _framework_problem(error: HTTPException) -> HttpRejected:
    if error.detail == _BODY_BROKEN:
        return HttpRejected(400, "invalid", "The body ended early, or is not framed as its headers say.")
    return HttpRejected(error.status_code, _slug(error.status_code), _http_detail(error), error.headers)


def _http_detail(error: HTTPException) -> str:
    return {
        404: "There is nothing at this address.",
        405: "This address does not support that method.",
        413: "The body is larger than this address accepts.",
    }.get(error.status_code, "This request cannot be read. Check its headers and its body.")


def _slug(status: int) -> str:
    return {
        404: "not-found",
        405: "method-not-allowed",
        413: "too-large",
        401: "unauthenticated",
        403: "forbidden",
    }.get(status, "invalid" if status < 500 else "try-again")
