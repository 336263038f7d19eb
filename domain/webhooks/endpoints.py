"""Endpoints: the address of a receiver as it may be written, and the machines that it may lead to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

from msgspec import Struct

from domain.shared.errors import Rejected

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

URL_CHARS_MAX = 500
_HTTPS_PORT = 443
_LOW_PORTS = range(1, 1024)

# Anything a URL parser could read in two ways is not read at all: userinfo, backslashes, fragments, blanks.
_URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::([0-9]{1,5}))?([/?][a-z0-9/?:@!$&'()*+,;=._~%-]*)?\Z",
    re.ASCII | re.IGNORECASE,
)
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)\Z", re.ASCII)
_NUMBER = re.compile(r"[0-9]+\Z|0x[0-9a-f]*\Z", re.ASCII)
# RFC 6761, 6762, 7686, 8375, and ICANN's name for private use.
_LOCAL_NAMES = {"localhost", "local", "internal", "test", "invalid", "example", "onion", "arpa"}

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
# What `is_global` of some Python we run on takes for public: 6to4 with its relays, documentation, protocol assignments.
_NOT_PUBLIC = tuple(IPv6Network(each) for each in ("2002::/16", "3fff::/20")) + tuple(
    IPv4Network(each) for each in ("192.0.0.0/24", "192.88.99.0/24")
)


class InvalidEndpoint(Rejected):
    """A webhook cannot be sent to this URL: {problem}."""

    slug = "not-an-endpoint"


class Endpoint(Struct, frozen=True):
    """``host`` in lower case, an IPv6 address without brackets. ``target`` is path and query."""

    secure: bool
    host: str
    port: int
    target: str

    @property
    def scheme(self) -> str:
        return "https" if self.secure else "http"

    @property
    def authority(self) -> str:
        """As the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def literal(self) -> Address | None:
        return _literal(self.host)


def parse_endpoint(url: str, own: Sequence[Network] = ()) -> Endpoint:
    """Raises InvalidEndpoint. ``own``: networks that may be reached although they are not public, also by plain http."""
    found = _URL.match(url) if len(url) <= URL_CHARS_MAX else None
    if found is None:
        raise InvalidEndpoint(
            problem=f"write https://host/path, at most {URL_CHARS_MAX} characters, without user, password or fragment"
        )
    scheme, host, port, target = found[1].lower(), found[2].lower(), found[3], found[4] or "/"
    secure = scheme == "https"
    endpoint = Endpoint(
        secure,
        _host(host),
        int(port) if port else (443 if secure else 80),
        target if target[0] == "/" else f"/{target}",
    )
    _check_written(endpoint, own)
    return endpoint


def check_reachable(endpoint: Endpoint, address: Address, own: Sequence[Network] = ()) -> None:
    """Raises InvalidEndpoint unless the address is public and asked for properly, or in one of ``own`` networks."""
    inner = _inner(address)
    if any(inner in network for network in own):
        return
    if not is_public(inner):
        raise InvalidEndpoint(problem=f"{endpoint.host} leads to an address that is not public")
    _check_public_use(endpoint)


def is_public(address: Address) -> bool:
    """Whether an address is one machine's on the public internet, whatever way it is wrapped."""
    inner = _inner(address)
    if isinstance(inner, IPv6Address) and inner not in _GLOBAL_UNICAST:
        return False
    return inner.is_global and not inner.is_multicast and not any(inner in network for network in _NOT_PUBLIC)


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, by mapping (RFC 4291) or by NAT64 (RFC 6052)."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _host(written: str) -> str:
    if written.startswith("["):
        if not isinstance(_literal(written[1:-1]), IPv6Address):
            raise InvalidEndpoint(problem="what is in brackets is no IPv6 address")
        return written[1:-1]
    labels = written.split(".")
    if len(written) > 253 or not all(map(_LABEL.match, labels)):
        raise InvalidEndpoint(problem=f"{written[:80]!r} is no host name. Leave out a dot at its end")
    if _NUMBER.match(labels[-1]) and _literal(written) is None:
        raise InvalidEndpoint(
            problem=f"{written[:80]!r} is no address. Write four decimal numbers, 192.0.2.1"
        )
    return written


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _check_written(endpoint: Endpoint, own: Sequence[Network]) -> None:
    """What can be said before the name is looked up."""
    if not 1 <= endpoint.port <= 65535:
        raise InvalidEndpoint(problem=f"there is no port {endpoint.port}")
    if endpoint.literal is not None:
        check_reachable(endpoint, endpoint.literal, own)
    elif not own:
        labels = endpoint.host.split(".")
        if len(labels) < 2 or labels[-1] in _LOCAL_NAMES:
            raise InvalidEndpoint(problem=f"{endpoint.host} is not a name on the public internet")
        _check_public_use(endpoint)


def _check_public_use(endpoint: Endpoint) -> None:
    if not endpoint.secure:
        raise InvalidEndpoint(problem="only https is sent over the public internet")
    if endpoint.port != _HTTPS_PORT and endpoint.port in _LOW_PORTS:
        raise InvalidEndpoint(
            problem=f"port {endpoint.port} belongs to another service. Use 443, or 1024 and above"
        )
