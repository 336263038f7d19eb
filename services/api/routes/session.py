"""Log-in and log-out of editors and reviewers."""

from __future__ import annotations

import secrets
from typing import Annotated

from litestar import Response, delete, get, post
from litestar.datastructures import Cookie
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from msgspec import Meta, Struct

from services.api.http.app_state import app_state
from services.api.http.auth import login_of, open_to_all
from services.api.http.documented import SESSION, SET_COOKIE
from services.api.http.json_body import StrictJSON
from services.api.http.problems import HttpRejected, problem_responses
from services.api.http.public_address import cookies_named, own_cookie
from services.api.http.rate_limits import admit_login, device_of
from services.api.http.requests import AnyRequest
from services.auth.accounts import (
    CLOSE_SESSION,
    FIND_USER,
    NAME_CHARS_MAX,
    PASSWORD_CHARS_MAX,
    SESSION_LIFETIME,
    open_session,
)
from services.auth.devices import DEVICE_COOKIE
from services.auth.identity import SESSION_COOKIE, Role
from services.auth.passwords import is_genuine

Password = Annotated[str, Meta(min_length=1, max_length=PASSWORD_CHARS_MAX)]
_SESSION_SECONDS = int(SESSION_LIFETIME.total_seconds())
_DEVICE_SECONDS = 365 * 24 * 3600
WRONG = "The name or the password is wrong."


class LogIn(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=NAME_CHARS_MAX)]
    password: Password


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
    user = await check_password(request, data.name, data.password)
    if user is None:
        raise HttpRejected(401, "unauthenticated", WRONG)
    cookies = await start_session(request, user[0], user[2])
    headers = {"Cache-Control": "no-store", **limits}
    return Response(LoggedIn(user[0], user[1]), cookies=cookies, headers=headers)


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


async def check_password(request: AnyRequest, name: str, password: str) -> tuple[str, Role, str] | None:
    """The user's name, role and stored hash, if the password is theirs. An unknown name takes as long as a known one."""
    user = await app_state(request).pool.fetchrow(FIND_USER, name.replace("\0", "\ufffd"))
    known = device_of(request, name) is not None
    genuine = await is_genuine(user["password"] if user else None, password, known)
    return (user["name"], user["role"], user["password"]) if user and genuine else None


async def start_session(request: AnyRequest, name: str, hashed: str) -> list[Cookie]:
    """The cookies of a new session, and of the device. Raises HttpRejected 401 if the password was changed meanwhile."""
    state, token = app_state(request), secrets.token_urlsafe(32)
    agent = request.headers.get("user-agent", "")
    if not await open_session(state.pool, state.identity.digest(token), name, hashed, agent):
        raise HttpRejected(401, "unauthenticated", WRONG)
    return [
        own_cookie(request.scope, SESSION_COOKIE, token, _SESSION_SECONDS),
        own_cookie(request.scope, DEVICE_COOKIE, state.devices.mint(name), _DEVICE_SECONDS),
    ]
