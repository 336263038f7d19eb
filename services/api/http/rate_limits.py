"""The rate limits of each kind of request: votes and bookmarks, requests by API key, log-ins."""

from __future__ import annotations

from services.api.http.app_state import app_state
from services.api.http.auth import Voter
from services.api.http.client_address import address_of, wider_networks
from services.api.http.overload.rate_limiter import NO_HEADERS, Headers
from services.api.http.public_address import cookies_named
from services.api.http.requests import AnyRequest
from services.auth.devices import DEVICE_COOKIE


async def admit_voter(request: AnyRequest, voter: Voter) -> Headers:
    """Limits a vote or bookmark by API key or visitor; the first one of a new visitor by address and its networks."""
    rate_limiter = app_state(request).rate_limiter
    if not voter.is_new:
        return await rate_limiter.admit_known(voter.source, voter.actor)
    if rate_limiter.address is None:
        return NO_HEADERS
    address = address_of(request, rate_limiter.proxies)
    networks = wider_networks(address).items()
    return await rate_limiter.admit_all(
        [
            (rate_limiter.address, _pseudonym(request, address)),
            *((rate_limiter.networks[bits], _pseudonym(request, network)) for bits, network in networks),
        ]
    )


async def admit_key(request: AnyRequest, source: str) -> Headers:
    """Limits a bulk request before its body is read. It counts as one request, however many lines it has."""
    rate_limiter = app_state(request).rate_limiter
    return await rate_limiter.admit(rate_limiter.key, source)


async def admit_login(request: AnyRequest, name: str) -> Headers:
    """Limits attempts to log in: from a device that the name has logged in with by that device, from others by address,
    and by address and name together. So nobody's attempts keep the owner of a name from logging in elsewhere.
    """
    rate_limiter, subject = app_state(request).rate_limiter, _user_pseudonym(request, name)
    device = device_of(request, name)
    if device is not None:
        return await rate_limiter.admit(rate_limiter.login_device, f"{device} {subject}")
    address = _address_pseudonym(request)
    by_name = await rate_limiter.admit(rate_limiter.login, f"{address} {subject}")
    by_address = await rate_limiter.admit(rate_limiter.login_address, address)
    return {header: f"{by_address[header]}, {by_name[header]}" for header in by_address}


def device_of(request: AnyRequest, name: str) -> str | None:
    """The id of the client's device, if ``name`` has logged in with it before."""
    devices = app_state(request).devices
    found = (devices.device_of(each, name) for each in cookies_named(request, DEVICE_COOKIE))
    return next(filter(None, found), None)


def _user_pseudonym(request: AnyRequest, name: str) -> str:
    return str(app_state(request).identity.pseudonym("user", name.encode()))


def _address_pseudonym(request: AnyRequest) -> str:
    return _pseudonym(request, address_of(request, app_state(request).rate_limiter.proxies))


def _pseudonym(request: AnyRequest, address: str) -> str:
    """Addresses themselves are not kept anywhere."""
    return str(app_state(request).identity.pseudonym("address", address.encode()))
