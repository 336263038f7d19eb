"""The address of a client: its peer's, or the one that our own proxies report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import takewhile

from services.api.http.requests import Connection
from services.settings import Network

_FORWARDING_HEADERS = (
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-prefix",
    "x-real-ip",
)
_PORT = re.compile(r":\d*$")
_NETWORK_BITS = 64  # of the IPv6 network that one household gets, with all addresses in it
# A client may have all addresses of these: a small hoster's /24, a household's /56, a company's /48.
WIDER_NETWORK_BITS = {4: (24,), 6: (56, 48)}


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


def address_in(host: str, proxies: Sequence[Network]) -> str:
    """The address of a peer, or for IPv6 its /64 network; empty for one of our ``proxies``."""
    peer = _parsed(host)
    return "" if peer is None or _is_in(peer, proxies) else _network(peer)


def wider_networks(address: str) -> dict[int, str]:
    """The networks by length that contain what ``address_of`` returned; none if that is not an address."""
    try:
        network = ip_network(address)
    except ValueError:
        return {}
    return {bits: str(network.supernet(new_prefix=bits)) for bits in WIDER_NETWORK_BITS[network.version]}


def is_on_this_machine(connection: Connection) -> bool:
    """Whether a program on this machine asks a loopback address itself: no proxy has left a trace in the headers."""
    peer = _parsed(connection.client.host) if connection.client else None
    host = _PORT.sub("", connection.headers.get("host", "").lower())
    asked = _parsed(host.strip("[]"))
    return (
        peer is not None
        and peer.is_loopback
        and (host == "localhost" or (asked is not None and asked.is_loopback))
        and not any(name in connection.headers for name in _FORWARDING_HEADERS)
    )


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
