"""Authorization: guards for routes. A test fails for a route without one."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from litestar.datastructures import Cookie
from litestar.handlers import BaseRouteHandler
from msgspec import Struct

from domain.voting.identifiers import VOTER_REQUIREMENT, valid_voter
from eventstore.decisions import Author
from services.api.http.allowed_access import Access, Guard, allows
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

_YEAR_SECONDS = 365 * 24 * 3600
_KEY_IN_SCOPE = "shiplog api key"
_UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}


class Voter(Struct, frozen=True):
    """The owner of a ballot or shelf; ``source`` is 'web' or the id of an API key, ``cookie`` is set for a new visitor."""

    actor: UUID
    source: str
    cookie: Cookie | None = None


@allows(Access(anonymous=True))
async def open_to_all(connection: Connection, _: BaseRouteHandler) -> None:
    """Allows every client. Writes from pages of other sites are rejected."""
    check_same_origin(connection)


@allows(Access(anonymous=True, visitor=True, scopes=("votes:write",)))
async def with_own_credentials(connection: Connection, _: BaseRouteHandler) -> None:
    """Allows visitors, but no writes from pages of other sites, and API keys with votes:write."""
    key = await key_of(connection)
    if key is None:
        check_same_origin(connection)
    elif "votes:write" not in key.scopes:
        raise _lacks_scope("votes:write")


def for_scope(scope: Scope) -> Guard:
    """Allows editors, and API keys with the scope."""

    @allows(Access(scopes=(scope,), roles=("editor",)))
    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        key = await key_of(connection)
        if key is None:
            await _require_login(connection, "editor")
        elif scope not in key.scopes:
            raise _lacks_scope(scope)

    return guard


@allows(Access(roles=("editor",)))
async def for_editors(connection: Connection, _: BaseRouteHandler) -> None:
    """Allows editors who are logged in."""
    if await key_of(connection) is not None:
        raise HttpRejected(403, "forbidden", "API keys cannot do this. Log in as an editor.")
    await _require_login(connection, "editor")


def for_key(scope: Scope) -> Guard:
    """Allows API keys with the scope."""

    @allows(Access(scopes=(scope,)))
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
            raise _lacks_scope(scope)

    return guard


@allows(Access(scopes=("catalogue:write",), roles=("editor", "reviewer")))
async def for_takes(connection: Connection, _: BaseRouteHandler) -> None:
    """Allows editors, API keys with catalogue:write, and the reviewer of the take."""
    key = await key_of(connection)
    if key is not None:
        if "catalogue:write" not in key.scopes:
            raise _lacks_scope("catalogue:write")
        return
    login = await _require_login(connection, "editor", "reviewer")
    if login.role == "reviewer" and login.reviewer != connection.path_params["reviewer"]:
        raise HttpRejected(403, "forbidden", "Reviewers can publish and withdraw only their own takes.")


def check_same_origin(connection: Connection) -> None:
    """Prevents cross-site request forgery: a browser names the site of the page that sends a write."""
    if connection.scope.get("method") not in _UNSAFE:
        return
    headers = connection.headers
    if is_foreign(headers.get("origin"), headers.get("host"), headers.get("sec-fetch-site")):
        raise HttpRejected(403, "cross-site", "Writes from pages of other sites are not allowed.")


def is_foreign(origin: str | None, host: str | None, site: str | None) -> bool:
    """Whether a page of another site sent a request, by its Origin, Host and Sec-Fetch-Site headers."""
    other_origin = origin is not None and origin.partition("://")[2] != host
    return other_origin or site not in (None, "same-origin", "none")


async def key_of(connection: Connection) -> ApiKey | None:
    """The request's API key, if it has an Authorization header. Raises HttpRejected 401 if that is not a valid key."""
    sent = connection.headers.get("authorization")
    if sent is None:
        return None
    if (known := connection.scope["state"].get(_KEY_IN_SCOPE)) is not None:
        return cast(ApiKey, known)
    scheme, _, token = sent.partition(" ")
    if scheme.lower() == "bearer" and token.startswith(KEY_PREFIX) and len(token) <= 100 and token.isascii():
        key = await _identity(connection).api_key(token)
        if key is not None:
            connection.scope["state"][_KEY_IN_SCOPE] = key
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
    """The voter ``named`` by a client with an API key; otherwise the visitor, who gets a cookie on the first write."""
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
    """The visitor; None without a valid cookie, which is set on the first write."""
    return _identity(request).visitor(request.cookies.get(VISITOR_COOKIE))


async def author_of(request: AnyRequest) -> Author:
    """The author of an editorial event. The route's guard has checked the credentials."""
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


def _lacks_scope(scope: str) -> HttpRejected:
    return HttpRejected(403, "forbidden", f"This API key lacks the scope {scope}.")
