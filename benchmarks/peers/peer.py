"""What a peer module provides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct

from benchmarks.measurement import Measurement
from services.embedded.postgres import Postgres


class Setting(Struct, frozen=True):
    """One way to run a peer. `run` takes the number of votes."""

    description: str
    run: Callable[[int], Awaitable[Measurement]]


class Peer(Struct, frozen=True):
    """Its fastest setting is measured, with `votes` votes: two to three seconds on two cores.

    `prepare` raises Unavailable when something that the peer needs is missing.
    """

    name: str
    votes: int
    prepare: Callable[[Postgres], Awaitable[list[Setting]]]
