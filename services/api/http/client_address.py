"""The address of a client: its peer's, or the one that our own proxies report."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from itertools import takewhile

from services.api.http.requests import Connection
from services.settings import Network

_NETWORK_BITS = 64  # of the IPv6 network that one household gets, with all addresses in it


def address_of(connection: Connection, proxies: Sequence[Network]) -> str:
    """The address, or for IPv6 its /64 network.

    If the peer is one of our ``proxies``, it is the last address in X-Forwarded-For that is not one of them.
    """
    client = connection.client
    peer = _parsed(client.host) if client else None
    if peer is None:
        return client.host if client else ""
    if not _is_in(peer, proxies):
        return _network(peer)
    forwarded = ",".join(connection.headers.getall("x-forwarded-for", []))
    return _network(_seen_by(proxies, forwarded) or peer)


def proxies_passed(connection: Connection, proxies: Sequence[Network]) -> int:
    """The number of our own ``proxies`` that a request has passed, one after the other; 0 if its peer is not one."""
    peer = _parsed(connection.client.host) if connection.client else None
    if peer is None or not _is_in(peer, proxies):
        return 0
    forwarded = ",".join(connection.headers.getall("x-forwarded-for", [])).split(",")
    seen = takewhile(lambda text: _is_own(text, proxies), reversed(forwarded))
    return 1 + sum(1 for _ in seen)


def _is_own(text: str, proxies: Sequence[Network]) -> bool:
    address = _parsed(text.strip())
    return address is not None and _is_in(address, proxies)


def _seen_by(proxies: Sequence[Network], forwarded: str) -> IPv4Address | IPv6Address | None:
    """The client that our own proxies saw; None if they report none, or something that is not an address."""
    address = None
    for text in reversed(forwarded.split(",")):
        address = _parsed(text.strip())
        if address is None or not _is_in(address, proxies):
            break
    return address


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """An IPv4 address that is mapped to IPv6 is returned as IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _is_in(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _network(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address), _NETWORK_BITS), strict=False))
