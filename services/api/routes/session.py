"""Log-in sessions of editors and reviewers."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Annotated

from litestar import Response, delete, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from msgspec import Meta, Struct

from services.api.http.app_state import app_state
from services.api.http.auth import login_of, open_to_all
from services.api.http.documented import SESSION, SET_COOKIE
from services.api.http.json_body import StrictJSON
from services.api.http.problems import HttpRejected, problem_responses
from services.api.http.public_address import cookies_named, own_cookie
from services.api.http.rate_limits import admit_login
from services.api.http.requests import AnyRequest
from services.auth.identity import SESSION_COOKIE, Role
from services.auth.passwords import is_genuine

FIND_USER = "SELECT name, role, password FROM users WHERE name = $1"
OPEN_SESSION = "INSERT INTO sessions (digest, name, expires_at) VALUES ($1, $2, now() + $3)"
CLOSE_SESSION = "DELETE FROM sessions WHERE digest = $1 OR expires_at < now()"

_LIFETIME = timedelta(hours=12)


class LogIn(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=80)]
    password: Annotated[str, Meta(min_length=1, max_length=200)]


class LoggedIn(Struct, frozen=True):
    name: str
    role: Role


@post(
    "/v1/session",
    dto=StrictJSON[LogIn],
    return_dto=None,
    status_code=200,
    guards=[open_to_all],
    responses=problem_responses(401, 413, 415, 429),
    response_headers=[SET_COOKIE],
    request_max_body_size=4 * 1024,
)
async def log_in(request: AnyRequest, data: JSONBody[LogIn]) -> Response[LoggedIn]:
    """Log in: opens a session whose HttpOnly cookie lasts twelve hours."""
    limits = await admit_login(request, data.name)
    user = await app_state(request).pool.fetchrow(FIND_USER, data.name) if "\0" not in data.name else None
    genuine = await is_genuine(user["password"] if user else None, data.password)
    if user is None or not genuine:
        raise HttpRejected(401, "unauthenticated", "The name or the password is wrong.")
    token = secrets.token_urlsafe(32)
    await app_state(request).pool.execute(
        OPEN_SESSION, app_state(request).identity.digest(token), user["name"], _LIFETIME
    )
    cookie = own_cookie(request.scope, SESSION_COOKIE, token, int(_LIFETIME.total_seconds()))
    headers = {"Cache-Control": "no-store", **limits}
    return Response(LoggedIn(user["name"], user["role"]), cookies=[cookie], headers=headers)


@get("/v1/session", guards=[open_to_all], security=SESSION, responses=problem_responses(401))
async def show_session(request: AnyRequest) -> Response[LoggedIn]:
    """The user of this session."""
    login = await login_of(request)
    if login is None:
        raise HttpRejected(401, "unauthenticated", "You are not logged in.")
    return Response(LoggedIn(login.name, login.role), headers={"Cache-Control": "private, no-store"})


@delete(
    "/v1/session",
    status_code=204,
    guards=[open_to_all],
    security=[*SESSION, {}],
    responses=problem_responses() | {204: ResponseSpec(None, description="Closed")},
    response_headers=[SET_COOKIE],
)
async def log_out(request: AnyRequest) -> Response[None]:
    """Log out: closes the session."""
    for token in cookies_named(request, SESSION_COOKIE) or [""]:
        await app_state(request).pool.execute(CLOSE_SESSION, app_state(request).identity.digest(token))
    return Response(None, cookies=[own_cookie(request.scope, SESSION_COOKIE, "", 0)])
