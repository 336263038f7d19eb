"""Ids of votes: UUIDv7 (RFC 9562 section 5.7), so that newer ids compare greater."""

from __future__ import annotations

import time
from uuid import UUID

import uuid_utils.compat

_CLOCK_SHIFT = 80  # the clock is the first 48 of 128 bits
_BELOW_CLOCK = (1 << _CLOCK_SHIFT) - 1
_MARKS = 0xF << 76 | 0b11 << 62  # version and variant
_V7 = 7 << 76 | 0b10 << 62
MOST_AHEAD_MS = 60_000
WANTED = "The id must be a UUIDv7 whose time is at most 60 s in the future. Check your clock."

mint = uuid_utils.compat.uuid7


def mint_after(newest: UUID) -> UUID:
    """An id greater than ``newest``, even when the clock of that one was ahead of ours."""
    fresh = mint()
    if fresh > newest:
        return fresh
    return UUID(int=(milliseconds_of(newest) + 1) << _CLOCK_SHIFT | (fresh.int & _BELOW_CLOCK))


def milliseconds_of(id: UUID) -> int:
    """Since 1970, as the id claims."""
    return id.int >> _CLOCK_SHIFT


def is_acceptable(id: UUID) -> bool:
    """A UUIDv7 of the RFC's variant, not more than a minute in the future."""
    number = id.int
    is_v7 = number & _MARKS == _V7
    return is_v7 and number >> _CLOCK_SHIFT <= time.time_ns() // 1_000_000 + MOST_AHEAD_MS
