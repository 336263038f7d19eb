"""Authorization: guards for routes. A test fails for a route without one."""

from __future__ import annotations

from typing import cast, get_args
from uuid import UUID

from litestar.datastructures import Cookie
from litestar.handlers import BaseRouteHandler
from litestar.types import Scope as AsgiScope
from msgspec import Struct

from domain.voting.identifiers import VOTER_REQUIREMENT, valid_voter
from eventstore.decisions import Author
from services.api.http.app_state import app_state
from services.api.http.client_address import is_on_this_machine
from services.api.http.permissions import Access, Guard, allows
from services.api.http.problems import HttpRejected
from services.api.http.public_address import cookies_named, own_cookie, public_address
from services.api.http.requests import AnyRequest, Connection
from services.auth.identity import (
    KEY_PREFIX,
    SESSION_COOKIE,
    VISITOR_COOKIE,
    ApiKey,
    Identity,
    Login,
    Role,
    Scope,
)
from services.public_address import host_of

CLAIM_HEADER = "shiplog-visitor-claim"
_YEAR_SECONDS = 365 * 24 * 3600
_MAY_READ_VOTERS = frozenset({"votes:write", "read"})
_KEY_IN_SCOPE = "shiplog api key"
_UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}


class Voter(Struct, frozen=True):
    """The owner of a ballot or shelf; ``source`` is 'web' or the id of an API key, ``cookies`` are to be set.

    ``is_new``: the request came without the cookie of a visitor.
    """

    actor: UUID
    source: str
    cookies: tuple[Cookie, ...] = ()
    is_new: bool = False


@allows(Access(anonymous=True))
async def open_to_all(connection: Connection, _: BaseRouteHandler) -> None:
    """Allows every client without a key that is not valid. Writes from pages of other sites are rejected."""
    check_same_origin(connection)
    if _claims_a_key(connection):
        await key_of(connection)


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


@allows(Access(roles=("editor", "reviewer")))
async def for_people(connection: Connection, _: BaseRouteHandler) -> None:
    """Allows editors and reviewers who are logged in."""
    if await key_of(connection) is not None:
        raise HttpRejected(403, "forbidden", "API keys cannot do this. Log in first.")
    await _require_login(connection, *get_args(Role))


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


_for_readers = for_scope("read")


@allows(Access(anonymous=True, scopes=("read",), roles=("editor",)))
async def for_metrics(connection: Connection, guarded: BaseRouteHandler) -> None:
    """Allows a program on this machine that reaches the process directly, editors, and API keys with the scope read.

    What comes through a proxy comes from anywhere.
    """
    if not (app_state(connection).is_direct and is_on_this_machine(connection)):
        await _for_readers(connection, guarded)


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
    sent = (headers.get("sec-fetch-site"), headers.get("origin"), headers.get("host"))
    if is_foreign(connection.scope, *sent):
        raise HttpRejected(
            403,
            "cross-site",
            "Writes from pages of other sites are not allowed. If this page is the site's own, its proxy changes the host: "
            "whoever runs it can set SHIPLOG_PUBLIC_URL.",
        )


def is_foreign(scope: AsgiScope, site: str | None, origin: str | None, host: str | None) -> bool:
    """Whether a page of another site sent a request, by its Sec-Fetch-Site, Origin and Host headers.

    A page cannot set any of them. A program can, but it has no cookie that is not its own. Where the browser judges the site
    itself, it knows better than we do behind a proxy that changes the host.
    """
    if site == "same-origin":
        return False
    if site not in (None, "none"):
        return True
    if origin is None:
        return False
    scheme, _, named = origin.partition("://")
    if not named:
        return True
    return named not in (host, public_address(scope).host) and named != host_of(host or "", scheme)


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


async def is_key_valid(connection: Connection) -> bool:
    """Whether the key of a request that has begun is still valid."""
    _, _, token = connection.headers.get("authorization", "").partition(" ")
    return await _identity(connection).api_key(token) is not None


def _claims_a_key(connection: Connection) -> bool:
    """Whether a request to an open route sends what should be an API key.

    Other credentials may be for a proxy in front, or, outside /v1, for whatever collects the metrics.
    """
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    is_for_us = connection.scope["path"].startswith("/v1/") or token.startswith(KEY_PREFIX)
    return scheme.lower() == "bearer" and is_for_us


async def login_of(connection: Connection) -> Login | None:
    _, login = await _session_of(connection)
    return login


async def session_token(connection: Connection) -> str:
    """The token of the request's session; empty without a session."""
    token, _ = await _session_of(connection)
    return token


async def _session_of(connection: Connection) -> tuple[str, Login | None]:
    """Token and login. Of several cookies, the first genuine one counts."""
    for token in cookies_named(connection, SESSION_COOKIE):
        if (login := await _identity(connection).login(token)) is not None:
            return token, login
    return "", None


async def current_login(connection: Connection) -> Login:
    """The login that the route's guard has checked. Raises HttpRejected 401 if its session has ended since."""
    login = await login_of(connection)
    if login is None:
        raise HttpRejected(401, "unauthenticated", "This session has ended. Log in again.")
    return login


async def voter_of(request: AnyRequest, named: str | None) -> Voter:
    """The voter ``named`` by a client with an API key; otherwise the visitor, who gets a cookie on the first write."""
    key = await key_of(request)
    if key is None and named is None:
        return visitor_of(request) or _new_visitor(request)
    return Voter(_named_voter(request, key, named), key.id if key else "")


async def reader_of(request: AnyRequest, named: str | None) -> Voter | None:
    """The voter ``named`` by a client with an API key that may write votes or read; otherwise the visitor.

    None for a visitor without a valid cookie or claim, which the first write makes.
    """
    key = await key_of(request) if _claims_a_key(request) else None
    if key is not None and not key.scopes & _MAY_READ_VOTERS:
        raise _lacks_scope("read")
    if key is None and named is None:
        return visitor_of(request)
    return Voter(_named_voter(request, key, named), key.id if key else "")


def visitor_of(request: AnyRequest) -> Voter | None:
    """The visitor, by cookie, or by the claim of a browser whose first writes are not answered yet. None without either."""
    identity = _identity(request)
    for sent in cookies_named(request, VISITOR_COOKIE):
        if (actor := identity.visitor(sent)) is not None:
            return Voter(actor, "web", renewed_cookies(request.scope, identity, sent))
    claimed = identity.claimed_visitor(request.headers.get(CLAIM_HEADER))
    return _with_cookie(request, claimed) if claimed else None


def renewed_cookies(scope: AsgiScope, identity: Identity, cookie: str) -> tuple[Cookie, ...]:
    """The cookie to set in place of a genuine one: none, unless that is a day old."""
    value = identity.renewed(cookie)
    return () if value is None else (_visitor_cookie(scope, value),)


def _named_voter(request: AnyRequest, key: ApiKey | None, named: str | None) -> UUID:
    """Raises HttpRejected 403 without a key, and 400 for a name that is missing or not valid."""
    if key is None:
        raise HttpRejected(403, "forbidden", "Only an API key may name a voter.")
    name = (named or "").encode()
    if not valid_voter(name):
        raise HttpRejected(400, "invalid", f"With an API key, send `voter` too. {VOTER_REQUIREMENT}")
    return _identity(request).pseudonym("voter", name)


async def author_of(request: AnyRequest) -> Author:
    """The author of an editorial event. The route's guard has checked the credentials."""
    key = await key_of(request)
    if key is not None:
        return Author(_identity(request).pseudonym("user", key.id.encode()), key.id)
    login = await current_login(request)
    return Author(_identity(request).pseudonym("user", login.name.encode()), f"user:{login.role}")


def _new_visitor(request: AnyRequest) -> Voter:
    return _with_cookie(request, _identity(request).mint_visitor())


def _with_cookie(request: AnyRequest, value: str) -> Voter:
    actor = cast(UUID, _identity(request).visitor(value))
    return Voter(actor, "web", (_visitor_cookie(request.scope, value),), is_new=True)


def _visitor_cookie(scope: AsgiScope, value: str) -> Cookie:
    return own_cookie(scope, VISITOR_COOKIE, value, _YEAR_SECONDS)


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
