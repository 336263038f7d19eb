"""Ids of votes: UUIDv7 (RFC 9562 section 5.7), so that newer ids compare greater."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

import uuid_utils.compat
from asyncpg.pgproto import pgproto

from domain.voting.identifiers import AHEAD_MILLISECONDS_MAX, valid_id

_CLOCK_SHIFT = 80  # the clock is the first 48 of 128 bits
_BELOW_CLOCK = (1 << _CLOCK_SHIFT) - 1
_V7 = 7 << 76 | 0b10 << 62
_ACTOR_BITS = 22
_ACTOR_MASK = (1 << _ACTOR_BITS) - 1

mint = uuid_utils.compat.uuid7


def mint_after(newest: UUID) -> UUID:
    """An id greater than ``newest``, even if ``newest`` is from a clock that is ahead of ours."""
    fresh = mint()
    if fresh > newest:
        return fresh
    return UUID(int=(milliseconds_of(newest) + 1) << _CLOCK_SHIFT | (fresh.int & _BELOW_CLOCK))


def milliseconds_of(id: UUID) -> int:
    """The id's time, in milliseconds since 1970."""
    return id.int >> _CLOCK_SHIFT


def ids_at(milliseconds: int) -> Callable[[int, UUID], UUID]:
    """A function from (number, actor) to deterministic ids with this time, which ascend with the number, below 2**40.

    The last 22 bits come from the actor, so line n of two files rarely gets the same id.
    """
    first = milliseconds << _CLOCK_SHIFT | _V7

    def id_of(number: int, actor: UUID) -> UUID:
        # asyncpg's UUID takes a seventh of the time of uuid.UUID to create, and bulk ingest creates one per line.
        return pgproto.UUID((first | number << _ACTOR_BITS | actor.int & _ACTOR_MASK).to_bytes(16))

    return id_of


def is_acceptable(id: UUID) -> bool:
    return id_check()(id)


def id_check() -> Callable[[UUID], bool]:
    """``is_acceptable`` with the clock read once, for many ids."""
    return valid_id(_now())


def latest_id_milliseconds() -> int:
    """The greatest time an id may have, in milliseconds since 1970."""
    return _now() + AHEAD_MILLISECONDS_MAX


def _now() -> int:
    return time.time_ns() // 1_000_000
