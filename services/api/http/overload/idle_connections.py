"""Idle connections: those that a saturated process closes to accept others. The server has no call for it, so sockets are found by descriptor."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
import termios
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from msgspec import Struct

from services.api.http.client_address import address_in
from services.settings import Network

IDLE_MILLISECONDS_MIN = 500
_DESCRIPTORS_PER_TURN = 32
# Linux, struct tcp_info: the state, and the milliseconds since data was last sent and received.
_NONE = struct.pack("i", 0)  # bytes to read
_TCP_INFO_BYTES, _STATE, _LAST_SENT, _LAST_RECEIVED, _LISTEN = 104, 0, 44, 52, 10

Peer = tuple[str, int]  # address and port, as the server names a client


class TcpSocket(Struct, frozen=True):
    descriptor: int
    port: int  # ours
    peer: Peer
    idle: int  # milliseconds without data in either direction


def close_idle_connections(
    count: int, busy: Collection[Peer], proxies: Sequence[Network], before: set[Peer] | None = None
) -> int:
    """Close up to ``count`` connections that are idle and not ``busy`` with a request. Returns the number closed.

    First those of the client with the most connections, and among them the longest idle; proxies of ours come last.
    ``before`` has the peers that were idle at the last call, and is replaced: only those are closed, since a request that waited
    in the backlog may have been read, but not begun.
    """
    if count <= 0 or sys.platform != "linux":
        return 0
    accepted = _accepted_connections()
    clients = {each.peer: address_in(each.peer[0], proxies) for each in accepted}
    per_client = Counter(client for client in clients.values() if client)
    idle = [each for each in accepted if each.idle >= IDLE_MILLISECONDS_MIN and each.peer not in busy]
    if before is not None:
        idle, seen = [each for each in idle if each.peer in before], {each.peer for each in idle}
        before.clear()
        before.update(seen)
    idle.sort(key=lambda each: (per_client[clients[each.peer]], each.idle), reverse=True)
    return sum(_close(each) for each in idle[:count])


def _accepted_connections() -> list[TcpSocket]:
    """The connections to ports that this process listens on, but none that it has opened itself, as to the database."""
    sockets, ports = list[TcpSocket](), set[int]()
    for number, name in enumerate(os.listdir("/dev/fd")):  # noqa: PTH208 - pathlib would make an object for each
        if number % _DESCRIPTORS_PER_TURN == 0:
            time.sleep(0)  # pass the interpreter's lock to the event loop
        with _borrowed(int(name)) as borrowed:
            if borrowed is None:
                continue
            info = borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            port = borrowed.getsockname()[1]
            if info[_STATE] == _LISTEN:
                ports.add(port)
            else:
                if fcntl.ioctl(borrowed, termios.FIONREAD, _NONE) != _NONE:
                    continue  # a request that has not been read
                idle = min(struct.unpack_from("=I", info, at)[0] for at in (_LAST_SENT, _LAST_RECEIVED))
                sockets.append(TcpSocket(int(name), port, borrowed.getpeername()[:2], idle))
    return [each for each in sockets if each.port in ports]


def _close(connection: TcpSocket) -> bool:
    """Whether it is closed now. The descriptor may belong to another connection by this time."""
    closed = False
    with _borrowed(connection.descriptor) as borrowed:
        if borrowed is not None and borrowed.getpeername()[:2] == connection.peer:
            borrowed.shutdown(socket.SHUT_RDWR)
            closed = True
    return closed


@contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket | None]:
    """The TCP socket of a descriptor that the server owns; None if it is another file, or closed. Errors end the block."""
    try:
        borrowed = socket.socket(fileno=descriptor)
    except OSError:
        yield None
        return
    try:
        is_tcp = borrowed.family in (socket.AF_INET, socket.AF_INET6) and borrowed.type == socket.SOCK_STREAM
        yield borrowed if is_tcp else None
    except OSError:
        return  # closed in the meantime
    finally:
        borrowed.detach()
