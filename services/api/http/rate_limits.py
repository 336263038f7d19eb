"""Limited: who may ask how often, and what somebody over the limit is told."""

from __future__ import annotations

from services.api.http.app_state import parts
from services.api.http.auth import Voter
from services.api.http.client_address import address_of
from services.api.http.rate_limiter import NO_HEADERS, Headers
from services.api.http.requests import AnyRequest


async def admit_voter(request: AnyRequest, voter: Voter) -> Headers:
    """A write of one's own: by key, by visitor, and by address for a visitor whose cookie is yet to be minted."""
    gate = parts(request).gate
    if voter.cookie is None:
        return await gate.admit_known(voter.origin, voter.actor)
    return await gate.admit(gate.address, _place_of(request)) if gate.address else NO_HEADERS


async def admit_key(request: AnyRequest, origin: str) -> Headers:
    """A bulk request is one request, whatever its lines: it is admitted before it is read."""
    gate = parts(request).gate
    return await gate.admit(gate.key, origin)


async def admit_login(request: AnyRequest, name: str) -> Headers:
    """A guess, by where it comes from and by whose password it guesses."""
    gate = parts(request).gate
    here = await gate.admit(gate.login_address, _place_of(request))
    named = await gate.admit(gate.login_name, str(parts(request).identity.pseudonym("user", name.encode())))
    return {header: f"{here[header]}, {named[header]}" for header in here}


def _place_of(request: AnyRequest) -> str:
    """A pseudonym: no address is kept anywhere."""
    address = address_of(request, parts(request).gate.proxies)
    return str(parts(request).identity.pseudonym("address", address.encode()))
