"""Endpoints: the URLs a webhook may have, and the IP addresses they may resolve to (SSRF protection)."""

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

# Parts that URL parsers disagree on are rejected: userinfo, backslashes, fragments, whitespace.
_URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::([0-9]{1,5}))?([/?][a-z0-9/?:@!$&'()*+,;=._~%-]*)?\Z",
    re.ASCII | re.IGNORECASE,
)
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)\Z", re.ASCII)
_NUMBER = re.compile(r"[0-9]+\Z|0x[0-9a-f]*\Z", re.ASCII)
# RFC 6761, 6762, 7686, 8375, and `internal`, which ICANN reserves for private use.
_LOCAL_NAMES = {"localhost", "local", "internal", "test", "invalid", "example", "onion", "arpa"}

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
# Ranges that `is_global` of some supported Python calls global: 6to4 and its relays, documentation, protocol assignments.
_NOT_PUBLIC = tuple(IPv6Network(each) for each in ("2002::/16", "3fff::/20")) + tuple(
    IPv4Network(each) for each in ("192.0.0.0/24", "192.88.99.0/24")
)


class InvalidEndpoint(Rejected):
    """A webhook cannot be sent to this URL: {problem}."""

    slug = "not-an-endpoint"


class Endpoint(Struct, frozen=True):
    """``host`` is in lower case, an IPv6 address without brackets; ``target`` is path and query."""

    secure: bool
    host: str
    port: int
    target: str

    @property
    def scheme(self) -> str:
        return "https" if self.secure else "http"

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def literal(self) -> Address | None:
        return _literal(self.host)


def parse_endpoint(url: str, own: Sequence[Network] = ()) -> Endpoint:
    """Raises InvalidEndpoint. ``own`` networks are allowed although they are not public, and over plain http."""
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
    _check_url(endpoint, own)
    return endpoint


def check_reachable(endpoint: Endpoint, address: Address, own: Sequence[Network] = ()) -> None:
    """Raises InvalidEndpoint unless the address is in an ``own`` network, or public with https and an allowed port."""
    unwrapped = _unwrapped(address)
    if any(unwrapped in network for network in own):
        return
    if not is_public(unwrapped):
        raise InvalidEndpoint(problem=f"{endpoint.host} resolves to an address that is not public")
    _check_public_use(endpoint)


def is_public(address: Address) -> bool:
    """Whether the address, or the IPv4 address it embeds, is a unicast address of the public internet."""
    unwrapped = _unwrapped(address)
    if isinstance(unwrapped, IPv6Address) and unwrapped not in _GLOBAL_UNICAST:
        return False
    return (
        unwrapped.is_global
        and not unwrapped.is_multicast
        and not any(unwrapped in network for network in _NOT_PUBLIC)
    )


def _unwrapped(address: Address) -> Address:
    """The IPv4 address embedded in an IPv6 address, mapped (RFC 4291) or by NAT64 (RFC 6052), or else the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _host(text: str) -> str:
    if text.startswith("["):
        if not isinstance(_literal(text[1:-1]), IPv6Address):
            raise InvalidEndpoint(problem="the text in brackets is not an IPv6 address")
        return text[1:-1]
    labels = text.split(".")
    if len(text) > 253 or not all(map(_LABEL.match, labels)):
        raise InvalidEndpoint(problem=f"{text[:80]!r} is not a host name. Leave out a trailing dot")
    if _NUMBER.match(labels[-1]) and _literal(text) is None:
        raise InvalidEndpoint(
            problem=f"{text[:80]!r} is not an IP address. Write four decimal numbers, for example 192.0.2.1"
        )
    return text


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _check_url(endpoint: Endpoint, own: Sequence[Network]) -> None:
    """Checks that need no DNS lookup."""
    if not 1 <= endpoint.port <= 65535:
        raise InvalidEndpoint(problem=f"port {endpoint.port} does not exist")
    if endpoint.literal is not None:
        check_reachable(endpoint, endpoint.literal, own)
    elif not own:
        labels = endpoint.host.split(".")
        if len(labels) < 2 or labels[-1] in _LOCAL_NAMES:
            raise InvalidEndpoint(problem=f"{endpoint.host} is not a name on the public internet")
        _check_public_use(endpoint)


def _check_public_use(endpoint: Endpoint) -> None:
    if not endpoint.secure:
        raise InvalidEndpoint(problem="over the public internet webhooks need https")
    if endpoint.port != _HTTPS_PORT and endpoint.port in _LOW_PORTS:
        raise InvalidEndpoint(
            problem=f"port {endpoint.port} belongs to another service. Use 443, or 1024 and above"
        )
