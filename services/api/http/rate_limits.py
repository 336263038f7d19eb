"""Limited: who may ask how often, and what somebody over the limit is told."""

from __future__ import annotations

from services.api.http.app_state import app_state
from services.api.http.auth import Voter
from services.api.http.client_address import address_of
from services.api.http.rate_limiter import NO_HEADERS, Headers
from services.api.http.requests import AnyRequest


async def admit_voter(request: AnyRequest, voter: Voter) -> Headers:
    """A write of one's own: by key, by visitor, and by address for a visitor whose cookie is yet to be minted."""
    rate_limiter = app_state(request).rate_limiter
    if voter.cookie is None:
        return await rate_limiter.admit_known(voter.source, voter.actor)
    return (
        await rate_limiter.admit(rate_limiter.address, _place_of(request))
        if rate_limiter.address
        else NO_HEADERS
    )


async def admit_key(request: AnyRequest, source: str) -> Headers:
    """A bulk request is one request, whatever its lines: it is admitted before it is read."""
    rate_limiter = app_state(request).rate_limiter
    return await rate_limiter.admit(rate_limiter.key, source)


async def admit_login(request: AnyRequest, name: str) -> Headers:
    """A guess, by where it comes from and by whose password it guesses."""
    rate_limiter = app_state(request).rate_limiter
    here = await rate_limiter.admit(rate_limiter.login_address, _place_of(request))
    named = await rate_limiter.admit(
        rate_limiter.login_name, str(app_state(request).identity.pseudonym("user", name.encode()))
    )
    return {header: f"{here[header]}, {named[header]}" for header in here}


def _place_of(request: AnyRequest) -> str:
    """A pseudonym: no address is kept anywhere."""
    address = address_of(request, app_state(request).rate_limiter.proxies)
    return str(app_state(request).identity.pseudonym("address", address.encode()))
