"""Who passes a guard, as data: the OpenAPI document derives each operation's security from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from litestar.handlers import BaseRouteHandler
from msgspec import Struct

from services.api.http.requests import Connection
from services.auth.identity import Role, Scope

Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]


class Access(Struct, frozen=True):
    """The credentials of which one is enough. ``anonymous``: none is needed; ``visitor``: the cookie tells visitors apart."""

    anonymous: bool = False
    visitor: bool = False
    scopes: tuple[Scope, ...] = ()
    roles: tuple[Role, ...] = ()


_access: dict[object, Access] = {}


def allows(access: Access) -> Callable[[Guard], Guard]:
    """Declares whom the decorated guard lets pass."""

    def declare(guard: Guard) -> Guard:
        _access[guard] = access
        return guard

    return declare


def access_of(guards: Iterable[object]) -> Access:
    """The declaration of the one guard that a route has. Raises LookupError without one."""
    for guard in guards:
        if (access := _access.get(guard)) is not None:
            return access
    raise LookupError("no guard of this route declares whom it allows: decorate one with @allows")
