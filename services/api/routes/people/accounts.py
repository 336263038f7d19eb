"""The account of who is logged in: their open sessions, and their password."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from litestar import Response, delete, get, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, PathParameter
from msgspec import Meta, Struct

from domain.shared.types import SESSION_ID
from services.api.http.app_state import app_state
from services.api.http.auth import current_login, for_people, session_token
from services.api.http.caching import PRIVATE_NO_STORE
from services.api.http.documented import SET_COOKIE
from services.api.http.json_body import StrictJSON
from services.api.http.pagination import Items
from services.api.http.problems import HttpRejected, problem_responses
from services.api.http.rate_limits import admit_login
from services.api.http.requests import AnyRequest
from services.api.routes.session import LoggedIn, Password, check_password, start_session
from services.auth.accounts import (
    PASSWORD_CHARS_MAX,
    PASSWORD_CHARS_MIN,
    UnknownUser,
    end_sessions,
    read_sessions,
    session_id,
    set_password,
)
from services.auth.accounts import (
    end_session as end_session_of,
)

SessionId = Annotated[str, PathParameter(pattern=SESSION_ID, max_length=16)]


class SessionResponse(Struct, frozen=True):
    """``agent`` is what the browser said it was; ``current`` is the session that asks."""

    id: str
    opened_at: datetime
    expires_at: datetime
    agent: str
    current: bool


class SessionsEnded(Struct, frozen=True):
    ended: int


class PasswordRequest(Struct, frozen=True, forbid_unknown_fields=True):
    current: Password
    new: Annotated[str, Meta(min_length=PASSWORD_CHARS_MIN, max_length=PASSWORD_CHARS_MAX)]


@get("/v1/me/sessions", guards=[for_people], responses=problem_responses(401, 403))
async def own_sessions(request: AnyRequest) -> Response[Items[SessionResponse]]:
    """Your open sessions, newest first."""
    current = session_id(await _digest(request))
    items = [
        SessionResponse(each.id, each.opened_at, each.expires_at, each.agent, each.id == current)
        for each in await read_sessions(app_state(request).pool, (await current_login(request)).name)
    ]
    return Response(Items(items), headers=PRIVATE_NO_STORE)


@delete(
    "/v1/me/sessions/{session:str}",
    status_code=204,
    guards=[for_people],
    responses=problem_responses(401, 403, 404) | {204: ResponseSpec(None, description="Ended")},
)
async def end_session(request: AnyRequest, session: SessionId) -> Response[None]:
    """End one of your sessions, at once."""
    if not await end_session_of(app_state(request).pool, (await current_login(request)).name, session):
        raise HttpRejected(404, "not-found", "You have no open session with this id. List them again.")
    return Response(None)


@delete("/v1/me/sessions", status_code=200, guards=[for_people], responses=problem_responses(401, 403))
async def end_other_sessions(request: AnyRequest) -> Response[SessionsEnded]:
    """End all your sessions but this one, at once."""
    name = (await current_login(request)).name
    ended = await end_sessions(app_state(request).pool, name, but=await _digest(request))
    return Response(SessionsEnded(ended), headers=PRIVATE_NO_STORE)


@put(
    "/v1/me/password",
    dto=StrictJSON[PasswordRequest],
    return_dto=None,
    status_code=200,
    guards=[for_people],
    responses=problem_responses(401, 403, 413, 415, 429),
    response_headers=[SET_COOKIE],
    request_max_body_size=8 * 1024,
)
async def change_password(request: AnyRequest, data: JSONBody[PasswordRequest]) -> Response[LoggedIn]:
    """Change your password. All your sessions end; the answer's cookie opens a new one."""
    login, pool = await current_login(request), app_state(request).pool
    limits = await admit_login(request, login.name)
    user = await check_password(request, login.name, data.current)
    if user is None:
        raise HttpRejected(403, "forbidden", "The current password is wrong. Nothing was changed.")
    try:
        hashed = await set_password(pool, login.name, data.new, checked=user[2])
    except UnknownUser:
        raise HttpRejected(
            401, "unauthenticated", "The password was changed elsewhere. Log in again."
        ) from None
    cookies = await start_session(request, login.name, hashed)
    return Response(
        LoggedIn(login.name, login.role), cookies=cookies, headers={"Cache-Control": "no-store", **limits}
    )


async def _digest(request: AnyRequest) -> bytes:
    return app_state(request).identity.digest(await session_token(request))
