"""The errors of the API, described once by status, with the problem types that each may have."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from services.api.http.problems import MEDIA_TYPE
from services.api.openapi.headers import JsonObject, refer_to_headers

# An example of ``detail`` by type. A test holds that no other type is raised.
PROBLEM_TYPES: dict[int, dict[str, str]] = {
    400: {
        "invalid": "limit: send a whole number from 1 to 100.",
        "invalid-id": "The id must be a UUIDv7 whose time is at most 60 s in the future. Check your clock.",
        "ambiguous": "Send exactly one Host header.",
        "damaged": "The compressed data is damaged or cut short. Nothing was stored. Send everything again.",
        "too-many-bad-lines": "10,001 of the 12,000 lines read so far are bad, and the rest was not read.",
        "not-an-endpoint": "This URL is not allowed for a webhook.",
    },
    401: {"unauthenticated": "Log in first, or send an API key."},
    403: {
        "forbidden": "This API key lacks the scope votes:write.",
        "cross-site": "Writes from pages of other sites are not allowed.",
    },
    404: {"not-found": "There is no tool 'mongo'. Check the slug."},
    406: {"not-acceptable": "Accept-Encoding: accept gzip, zstd or identity."},
    408: {"too-slow": "The body took longer than 10 seconds."},
    409: {
        "id-conflict": "The id 01a22354-1f17-7079-aff0-bc8f5da59d6b is already used by another vote. Nothing was stored.",
        "not-now": "The replay is done.",
        "under-way": "Another one is under way.",
        "kept-by-the-append": "This read model is kept by the append itself and needs no replay.",
        "no-segments": "This log has no sealed segments.",
        "not-understood": "The log contains an event that this release cannot read.",
        "order-incomplete": "Name each reviewer of the panel once. Missing: builder.",
        "name-taken": "There is another rulebook of this name.",
        "nothing-to-roll-back": "No adoption is left to roll back.",
        "not-scheduled": "This rulebook is not scheduled.",
        "too-many": "There are too many webhooks.",
        "disabled": "The webhook is disabled. Enable it first.",
    },
    410: {"retired": "The tool 'gin' is retired."},
    412: {"revision-moved": "The tool 'quill' is at revision 2, not 1."},
    413: {"too-large": "The body is larger than this address accepts."},
    415: {
        "unsupported-media-type": "Send JSON with the header Content-Type: application/json.",
        "unsupported-encoding": "Send Content-Encoding: gzip or zstd, or leave it out.",
    },
    429: {
        "rate-limited": "The limit for a visitor's writes is 300 per minute. Nothing was done; try again in 1 s."
    },
    500: {"internal": "Something went wrong on our side. It has been logged."},
    503: {
        "try-again": "The database did not answer. Nothing is confirmed as stored; try again in a second.",
        "not-ready": "The read model tally has not moved for 31 seconds. Look at the workers.",
        "unsettled": "The database did not confirm this vote. Send it again with the same id.",
    },
}
# The server answers it itself, without a body, before the application sees the request.
HEAD_TOO_LARGE = 431
_EVERY_PROBLEM = ("Cache-Control", "X-Content-Type-Options")
_HEADERS = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}


def refer_to_problem(status: int) -> JsonObject:
    return {"$ref": f"#/components/responses/{_name(status)}"}


def problem_components(statuses: set[int]) -> JsonObject:
    return {_name(status): _response(status) for status in sorted(statuses)}


def _response(status: int) -> JsonObject:
    if status == HEAD_TOO_LARGE:
        return {
            "description": "The address and the headers are larger than 16 KiB together. There is no body."
        }
    types = PROBLEM_TYPES[status]
    listed = ", ".join(f"`urn:shiplog:{slug}`" for slug in types)
    content: JsonObject = {
        "schema": {"$ref": "#/components/schemas/Problem"},
        "examples": {slug: {"value": _problem(status, slug)} for slug in types},
    }
    response: dict[str, Any] = {"description": f"{HTTPStatus(status).phrase}. `type` is {listed}."}
    response["headers"] = refer_to_headers(*_HEADERS.get(status, ()), *_EVERY_PROBLEM)
    return response | {"content": {MEDIA_TYPE: content}}


def _problem(status: int, slug: str) -> JsonObject:
    return {
        "type": f"urn:shiplog:{slug}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": PROBLEM_TYPES[status][slug],
    }


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "").replace("-", "")
