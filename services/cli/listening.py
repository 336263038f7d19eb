"""The socket that an API process listens on: no other program on its port, and the URL that leads to it."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

from services.embedded.binaries import ServerError

BACKLOG = 8_192  # connections not accepted yet; the system may allow fewer
_PORT_MAX = 65_535


class CannotListen(ServerError):
    """The host and the port do not name an address that is free."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises CannotListen.

    It does not set SO_REUSEPORT, with which two servers of one user share a port and split its requests between them.
    """
    if not 0 <= port <= _PORT_MAX:
        raise CannotListen(f"Cannot listen on port {port}: ports end at {_PORT_MAX}. Choose a lower --port.")
    family, address = _resolve(host, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise CannotListen(
            f"Cannot listen on {host}, port {port}: {reason}. Choose another --host or --port."
        ) from None
    return listener


def url_of(listener: socket.socket, host: str) -> str:
    """The URL for a client on this machine. ``host`` is what the listener was asked for: a name stays a name."""
    address, port = connect_address(listener)
    name = host if _is_name(host) else f"[{address}]" if ":" in address else address
    return f"http://{name}:{port}"


def connect_address(listener: socket.socket) -> tuple[str, int]:
    """Where a client on this machine connects: a listener on every address is reached by loopback."""
    address, port = listener.getsockname()[:2]
    if ip_address(address.partition("%")[0]).is_unspecified:
        address = "::1" if listener.family == socket.AF_INET6 else "127.0.0.1"
    return address, port


def _resolve(host: str, port: int) -> tuple[int, Any]:
    """The first address of a host, IPv4 before IPv6."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise CannotListen(
            f"Cannot listen on {host!r}: it is neither an address nor a name that resolves. Choose another --host."
        ) from None
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, address


def _is_name(host: str) -> bool:
    try:
        ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return True
    return False
