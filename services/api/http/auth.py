"""Access: the rule of every route. A route without one does not pass the tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast
from uuid import UUID

from litestar.datastructures import Cookie
from litestar.handlers import BaseRouteHandler
from msgspec import Struct

from domain.voting.identifiers import VOTER_REQUIREMENT, valid_voter
from eventstore.decisions import Author
from services.api.http.app_state import app_state
from services.api.http.problems import HttpRejected
from services.api.http.requests import AnyRequest, Connection
from services.auth.identity import (
    KEY_PREFIX,
    SESSION_COOKIE,
    VISITOR_COOKIE,
    ApiKey,
    Identity,
    Login,
    Scope,
)

Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]

_YEAR_SECONDS = 365 * 24 * 3600
_KEY = "shiplog api key"
_UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}


class Voter(Struct, frozen=True):
    """Whose ballot or shelf it is, by which door they came, and the cookie to give to somebody new."""

    actor: UUID
    source: str
    cookie: Cookie | None = None


async def open_to_all(connection: Connection, _: BaseRouteHandler) -> None:
    """Anybody may read; writes must come from our own pages, or from no browser at all."""
    check_same_origin(connection)


async def with_own_credentials(connection: Connection, _: BaseRouteHandler) -> None:
    """Anybody may write what is their own; an API key must be good for votes."""
    key = await key_of(connection)
    if key is None:
        check_same_origin(connection)
    elif "votes:write" not in key.scopes:
        raise _forbidden("votes:write")


def for_scope(scope: Scope) -> Guard:
    """An editor, or an API key with the scope."""

    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        key = await key_of(connection)
        if key is None:
            await _require_login(connection, "editor")
        elif scope not in key.scopes:
            raise _forbidden(scope)

    return guard


async def for_editors(connection: Connection, _: BaseRouteHandler) -> None:
    """A person with the role, logged in."""
    if await key_of(connection) is not None:
        raise HttpRejected(403, "forbidden", "No API key is good for this. Log in as an editor.")
    await _require_login(connection, "editor")


def for_key(scope: Scope) -> Guard:
    """Programs alone: an API key with the scope."""

    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        key = await key_of(connection)
        if key is None:
            raise HttpRejected(
                401,
                "unauthenticated",
                f"Send an API key with the scope {scope}.",
                {"WWW-Authenticate": "Bearer"},
            )
        if scope not in key.scopes:
            raise _forbidden(scope)

    return guard


async def for_takes(connection: Connection, _: BaseRouteHandler) -> None:
    """An editor, a key for the catalogue, or the reviewer whose take it is."""
    key = await key_of(connection)
    if key is not None:
        if "catalogue:write" not in key.scopes:
            raise _forbidden("catalogue:write")
        return
    login = await _require_login(connection, "editor", "reviewer")
    if login.role == "reviewer" and login.reviewer != connection.path_params["reviewer"]:
        raise HttpRejected(403, "forbidden", "A reviewer publishes and withdraws their own takes only.")


def check_same_origin(connection: Connection) -> None:
    """A browser says where a write comes from; a page of another site may not cause one."""
    if connection.scope.get("method") not in _UNSAFE:
        return
    headers = connection.headers
    if is_foreign(headers.get("origin"), headers.get("host"), headers.get("sec-fetch-site")):
        raise HttpRejected(
            403, "cross-site", "This write comes from a page of another site, so it was not done."
        )


def is_foreign(origin: str | None, host: str | None, site: str | None) -> bool:
    """Whether a browser says by these three headers that a page of another site is behind a request."""
    elsewhere = origin is not None and origin.partition("://")[2] != host
    return elsewhere or site not in (None, "same-origin", "none")


async def key_of(connection: Connection) -> ApiKey | None:
    """The request's API key, if it carries one. Raises 401 for one that is not good."""
    sent = connection.headers.get("authorization")
    if sent is None:
        return None
    if (known := connection.scope["state"].get(_KEY)) is not None:
        return cast(ApiKey, known)
    scheme, _, token = sent.partition(" ")
    if scheme.lower() == "bearer" and token.startswith(KEY_PREFIX) and len(token) <= 100 and token.isascii():
        key = await _identity(connection).api_key(token)
        if key is not None:
            connection.scope["state"][_KEY] = key
            return key
    raise HttpRejected(
        401,
        "unauthenticated",
        "This API key is not valid. Send Authorization: Bearer slk_..., with a key that is not revoked.",
        {"WWW-Authenticate": "Bearer"},
    )


async def login_of(connection: Connection) -> Login | None:
    return await _identity(connection).login(connection.cookies.get(SESSION_COOKIE))


async def voter_of(request: AnyRequest, named: str | None) -> Voter:
    """The voter a write is for: named by an API key, or the visitor, who gets a cookie on their first write."""
    key = await key_of(request)
    if key is None:
        if named is not None:
            raise HttpRejected(403, "forbidden", "Only an API key with votes:write may name a voter.")
        return _visitor(request)
    name = (named or "").encode()
    if not valid_voter(name):
        raise HttpRejected(400, "invalid", f"With an API key, send `voter` too. {VOTER_REQUIREMENT}")
    return Voter(_identity(request).pseudonym("voter", name), key.id)


def reader_of(request: AnyRequest) -> UUID | None:
    """The visitor behind a read; None for somebody who never wrote."""
    return _identity(request).visitor(request.cookies.get(VISITOR_COOKIE))


async def author_of(request: AnyRequest) -> Author:
    """Who decides on the catalogue or the panel; the route's guard has let them in."""
    key = await key_of(request)
    if key is not None:
        return Author(_identity(request).pseudonym("user", key.id.encode()), key.id)
    login = cast(Login, await login_of(request))
    return Author(_identity(request).pseudonym("user", login.name.encode()), f"user:{login.role}")


def _visitor(request: AnyRequest) -> Voter:
    actor = reader_of(request)
    if actor is not None:
        return Voter(actor, "web")
    identity = _identity(request)
    value = identity.mint_visitor()
    cookie = Cookie(
        VISITOR_COOKIE,
        value=value,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
        max_age=_YEAR_SECONDS,
    )
    return Voter(cast(UUID, identity.visitor(value)), "web", cookie)


async def _require_login(connection: Connection, *roles: str) -> Login:
    check_same_origin(connection)
    login = await login_of(connection)
    if login is None:
        raise HttpRejected(
            401, "unauthenticated", "Log in first, or send an API key.", {"WWW-Authenticate": "Bearer"}
        )
    if login.role not in roles:
        raise HttpRejected(403, "forbidden", f"This needs the role {' or '.join(roles)}.")
    return login


def _identity(connection: Connection) -> Identity:
    return app_state(connection).identity


def _forbidden(scope: str) -> HttpRejected:
    return HttpRejected(403, "forbidden", f"This API key lacks the scope {scope}.")
