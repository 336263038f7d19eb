"""Ports for servers of tests."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from random import Random
from urllib.parse import urlsplit


def free_ports(count: int = 2) -> int:
    """The first of consecutive free ports, below those that the system gives to clients.

    A client's port could be that of a killed server that has not restarted yet.
    """
    for first in Random().sample(range(10_000, 30_000), 1_000):
        with ExitStack() as sockets, suppress(OSError):
            for port in range(first, first + count):
                sockets.enter_context(socket.create_server(("127.0.0.1", port)))
            return first
    raise OSError("no free ports")


def ports_of(url: str, servers: int = 2) -> tuple[int, ...]:
    """API processes listen on consecutive ports."""
    first = urlsplit(url).port or 80
    return tuple(range(first, first + servers))
