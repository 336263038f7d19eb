"""Addresses: where a request comes from, as far as it can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from services.api.http.requests import Connection
from services.settings import Network

_SITE_BITS = 64  # one household has as many IPv6 addresses as it likes, all of one such network


def address_of(connection: Connection, proxies: Sequence[Network]) -> str:
    """The client's address, an IPv6 one as its /64.

    It is the peer's, unless the peer is a trusted proxy: then the last one in X-Forwarded-For that is none.
    """
    client = connection.client
    peer = _parsed(client.host) if client else None
    if peer is None:
        return client.host if client else ""
    if not _is_in(peer, proxies):
        return _site(peer)
    named = ",".join(connection.headers.getall("x-forwarded-for", []))
    return _site(_first_before(proxies, named) or peer)


def _first_before(proxies: Sequence[Network], named: str) -> IPv4Address | IPv6Address | None:
    """The client that our own proxies saw. None when nobody is named, or what is named is no address."""
    address = None
    for text in reversed(named.split(",")):
        address = _parsed(text.strip())
        if address is None or not _is_in(address, proxies):
            break
    return address


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """IPv4 in the clothes of IPv6 is IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _is_in(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _site(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address), _SITE_BITS), strict=False))
